// The dials of a training run, their defaults, the rules they must obey, and the number of steps that
// follows from them.

import { type Fault, TunesmithError } from "../errors.ts";
import { OPTIMIZER_NAMES, type OptimizerName } from "../runtime/optimizer.ts";
import { SCHEDULE_NAMES, type ScheduleName } from "../runtime/schedule.ts";

/** Every so many steps, at the end of each epoch, or only where the run ends (evaluation: not at all). */
export type Interval = number | "epoch" | "never";

export interface TrainingSettings {
  /** Passes over the data; a fraction is allowed. With `maxSteps`, whichever ends first. */
  readonly epochs?: number;
  readonly maxSteps?: number;
  /** Micro-batches to an optimizer step. Their losses are averaged over all their targets together. */
  readonly gradientAccumulation: number;
  readonly learningRate: number;
  readonly schedule: ScheduleName;
  /** Steps of warm-up from 0, or the same as a share of all steps. */
  readonly warmupSteps?: number;
  readonly warmupRatio?: number;
  /** The share of the learning rate that "linear" and "cosine" end at. */
  readonly minimumRatio: number;
  readonly optimizer: OptimizerName;
  readonly weightDecay: number;
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  /** SGD only. */
  readonly momentum: number;
  /** Gradients are shrunk together to this norm; 0 leaves them. */
  readonly maxGradientNorm: number;
  readonly evaluateEvery: Interval;
  readonly saveEvery: Interval;
  /** How many of the newest checkpoints stay; the best one stays besides with `keepBest`. */
  readonly keepLast: number;
  /** The final adapter is the one with the lowest evaluation loss, not the last one. */
  readonly keepBest: boolean;
  /** Stop after so many evaluations in a row without a new lowest loss. */
  readonly earlyStoppingPatience?: number;
  readonly seed: number;
  /** Report every so many steps. The first and the last step are always reported. */
  readonly logEvery: number;
}

/** What is taken where a setting is not given; `epochs` only where `maxSteps` is not given either. */
export const DEFAULT_TRAINING_SETTINGS: TrainingSettings = {
  epochs: 3,
  gradientAccumulation: 1,
  learningRate: 2e-4,
  schedule: "linear",
  minimumRatio: 0,
  optimizer: "adamw",
  weightDecay: 0,
  betas: [0.9, 0.999],
  epsilon: 1e-8,
  momentum: 0.9,
  maxGradientNorm: 1,
  evaluateEvery: "epoch",
  saveEvery: "epoch",
  keepLast: 2,
  keepBest: true,
  seed: 0,
  logEvery: 1,
};

type Rule = readonly [rule: string, holds: (value: never) => boolean, fix: string];
const isCount = (value: number) => Number.isSafeInteger(value) && value >= 1;
const isShare = (value: number) => value >= 0 && value <= 1;
const isAmount = (value: number) => Number.isFinite(value) && value >= 0;
const isInterval = (value: Interval) => typeof value === "string" || isCount(value);
const COUNT: Rule = ["must be a whole number of at least 1", isCount, "give 1 or more"];
const SHARE: Rule = ["must be between 0 and 1", isShare, "give a share such as 0.1"];
const AMOUNT: Rule = ["must be a number of at least 0", isAmount, "give 0 or more"];
const INTERVAL: Rule = [
  'must be a whole number of steps, "epoch" or "never"',
  isInterval,
  "give a number of steps of at least 1",
];

const oneOf = (names: readonly string[]): Rule => [
  `must be one of ${names.join(", ")}`,
  (value: string) => names.includes(value),
  "give one of these names",
];

const RULES: Readonly<Record<keyof TrainingSettings, Rule>> = {
  schedule: oneOf(SCHEDULE_NAMES),
  optimizer: oneOf(OPTIMIZER_NAMES),
  keepBest: [
    "must be true or false",
    (value: unknown) => typeof value === "boolean",
    "give true or false",
  ],
  epochs: [
    "must be a number above 0",
    (value: number) => Number.isFinite(value) && value > 0,
    "give 1 or more (a fraction such as 0.5 is allowed)",
  ],
  maxSteps: COUNT,
  gradientAccumulation: COUNT,
  learningRate: AMOUNT,
  warmupSteps: [
    "must be a whole number of at least 0",
    (value: number) => value === 0 || isCount(value),
    "give 0 or more; use warmupRatio for a share of all steps",
  ],
  warmupRatio: SHARE,
  minimumRatio: SHARE,
  weightDecay: AMOUNT,
  betas: [
    "must be two numbers from 0 up to, not including, 1",
    (value: readonly number[]) =>
      value.length === 2 && value.every((beta) => beta >= 0 && beta < 1),
    "give something like [0.9, 0.999]",
  ],
  epsilon: AMOUNT,
  momentum: [
    "must be from 0 up to, not including, 1",
    (value: number) => value >= 0 && value < 1,
    "give something like 0.9",
  ],
  maxGradientNorm: AMOUNT,
  evaluateEvery: INTERVAL,
  saveEvery: INTERVAL,
  keepLast: COUNT,
  earlyStoppingPatience: COUNT,
  seed: [
    "must be a whole number of at least 0",
    (value: number) => Number.isSafeInteger(value) && value >= 0,
    "give a number such as 42",
  ],
  logEvery: COUNT,
};

/**
 * Fills in the defaults and checks every rule. Throws one TunesmithError ("config") with all faults.
 *
 * @param canEvaluate whether the run has evaluation data
 */
export function completeSettings(
  given: Partial<TrainingSettings>,
  canEvaluate: boolean,
): TrainingSettings {
  const present = Object.fromEntries(
    Object.entries(given).filter(([, value]) => value !== undefined),
  );
  const { epochs, ...defaults } = DEFAULT_TRAINING_SETTINGS;
  const settings: TrainingSettings = {
    ...defaults,
    ...(given.maxSteps === undefined ? { epochs } : {}),
    ...present,
  };
  const faults: Fault[] = [];
  for (const [key, [rule, holds, fix]] of Object.entries(RULES)) {
    const value = settings[key as keyof TrainingSettings];
    if (value !== undefined && !holds(value as never))
      faults.push({
        where: `train.${key}`,
        rule,
        seen: JSON.stringify(value) ?? String(value),
        fix,
      });
  }
  if (settings.earlyStoppingPatience !== undefined) {
    if (!canEvaluate || settings.evaluateEvery === "never")
      faults.push({
        where: "train.earlyStoppingPatience",
        rule: "stopping early needs evaluations to judge by",
        seen: canEvaluate ? 'evaluateEvery is "never"' : "no evaluation data",
        fix: "set aside evaluation data (data.eval: 0.1) and evaluate, or leave this setting out",
      });
  }
  if (faults.length > 0) throw new TunesmithError("config", faults);
  return settings;
}

export interface StepPlan {
  /** Optimizer steps of one epoch, where the data knows its length. */
  readonly stepsPerEpoch?: number;
  /** Optimizer steps of the whole run, where they can be known. */
  readonly totalSteps?: number;
}

/**
 * How many steps a run takes. The last step of an epoch takes the micro-batches that are left over.
 * Throws where the length of the data is unknown and something needs it.
 */
export function planSteps(settings: TrainingSettings, batchesPerEpoch?: number): StepPlan {
  const { epochs, maxSteps = Number.POSITIVE_INFINITY } = settings;
  if (batchesPerEpoch !== undefined) {
    const stepsPerEpoch = Math.ceil(batchesPerEpoch / settings.gradientAccumulation);
    const byEpochs = epochs === undefined ? maxSteps : Math.ceil(stepsPerEpoch * epochs);
    return { stepsPerEpoch, totalSteps: Math.min(byEpochs, maxSteps) };
  }
  if (settings.maxSteps !== undefined) return { totalSteps: settings.maxSteps };
  const needs = [
    settings.schedule !== "constant" && `the schedule "${settings.schedule}"`,
    (settings.warmupRatio ?? 0) > 0 && settings.warmupSteps === undefined && "warmupRatio",
    epochs !== undefined && !Number.isInteger(epochs) && "a fraction of an epoch",
  ].filter((need) => need !== false);
  if (needs.length === 0) return {};
  throw new TunesmithError("config", {
    where: "train.maxSteps",
    rule: `${needs.join(" and ")} must know how many steps the run will take`,
    seen: "data of unknown length (it is streamed)",
    fix: 'give train.maxSteps, or schedule: "constant" and a warm-up counted in steps',
  });
}

/** Settings that have no say in what the losses will be. */
const WITHOUT_EFFECT_ON_LOSSES: ReadonlySet<string> = new Set<keyof TrainingSettings>([
  "saveEvery",
  "keepLast",
  "keepBest",
  "logEvery",
  "evaluateEvery",
  "earlyStoppingPatience",
]);

/** The settings that differ and with that change the losses of a resumed run, as "key: old -> new". */
export function changedSettings(before: TrainingSettings, now: TrainingSettings): string[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(now)]) as Set<
    keyof TrainingSettings
  >;
  return [...keys]
    .filter((key) => !WITHOUT_EFFECT_ON_LOSSES.has(key))
    .map((key) => [key, JSON.stringify(before[key]), JSON.stringify(now[key])] as const)
    .filter(([, old, current]) => old !== current)
    .map(([key, old, current]) => `${key}: ${old ?? "none"} -> ${current ?? "none"}`);
}
