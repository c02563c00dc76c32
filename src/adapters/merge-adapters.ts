// Several LoRA adapters made into one, in the ways of PEFT's `add_weighted_adapter` and with its numbers.

import { type Fault, nearest, TunesmithError } from "../errors.ts";
import type { Adapter } from "../hub/index.ts";
import { createRandom } from "../runtime/random.ts";
import { COMBINATIONS, type Combination, type CombineOptions } from "./combine.ts";
import { concatenated, factorsOf, factorsOfSum, productOf } from "./factors.ts";
import { moduleByModule } from "./module-by-module.ts";
import { type LoraModule, type PlainLora, toAdapter } from "./plain-lora.ts";

/**
 * `cat` keeps the sum as it is, at the sum of the ranks; `svd` is the nearest to that sum of one rank.
 * The names of `COMBINATIONS` work on A and on B, each for itself; with `_svd` on their products.
 */
export type MergeMethod = "cat" | "svd" | Combination | `${Exclude<Combination, "linear">}_svd`;

export interface MergeSettings {
  /** One factor an adapter; negative ones subtract. Default: 1 each. */
  readonly weights?: readonly number[];
  /** Default "svd". */
  readonly method?: MergeMethod;
  /** Rank of the result where it is found by singular values. Default: the largest of the adapters. */
  readonly rank?: number;
  /** Share of elements that pruning keeps, above 0 and at most 1; what prunes has no default. */
  readonly density?: number;
  /** How TIES elects signs. Default "total". */
  readonly majoritySign?: "total" | "frequency";
  /** Of what DARE draws. Default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

const COMBINATION_NAMES = Object.keys(COMBINATIONS) as Combination[];
const PRUNING = COMBINATION_NAMES.filter((name) => name !== "linear");

/** All of them, in the order in which they are told. */
export const MERGE_METHODS: readonly MergeMethod[] = [
  "svd",
  "cat",
  ...COMBINATION_NAMES,
  ...PRUNING.map((name) => `${name}_svd` as MergeMethod),
];

/**
 * One adapter from several; a module that some of them lack is made of the others.
 * @throws TunesmithError (config) for settings out of range, (checkpoint) for adapters of different
 *   models, or of different ranks where the method takes one; the signal's reason where it aborts
 */
export async function mergeAdapters(
  loras: readonly PlainLora[],
  settings: MergeSettings = {},
): Promise<Adapter> {
  const { weights = loras.map(() => 1), seed = 0 } = settings;
  // As in PEFT: one adapter alone is only weighted.
  const method = loras.length === 1 ? "linear" : (settings.method ?? "svd");
  checkSettings(loras, weights, method, settings);
  checkShapes(loras);
  const rank = settings.rank ?? Math.max(...loras.flatMap(ranksOf));
  const random = createRandom(seed).fork("merge");
  const paths = [...new Set(loras.flatMap(({ modules }) => [...modules.keys()]))];
  const presentAt = (path: string) =>
    loras.flatMap(({ modules }, i) => {
      const module = modules.get(path);
      return module ? [{ module, weight: weights[i]! }] : [];
    });
  const merged = await moduleByModule(
    paths.map((path) => [path, presentAt(path)] as const),
    (path, present) => {
      const options: CombineOptions = {
        density: settings.density ?? 1,
        majoritySign: settings.majoritySign ?? "total",
        random: random.fork(path),
      };
      return mergeModule(
        path,
        method,
        present.map(({ module }) => module),
        present.map(({ weight }) => weight),
        rank,
        options,
      );
    },
    settings.signal,
  );
  const { base, task } = loras[0]!;
  return toAdapter(merged, { base, task, targets: sharedTargets(loras, paths) });
}

function mergeModule(
  path: string,
  method: MergeMethod,
  modules: readonly LoraModule[],
  weights: readonly number[],
  rank: number,
  options: CombineOptions,
): LoraModule {
  const { inputSize, outputSize } = modules[0]!;
  if (method === "cat") return concatenated(modules, weights);
  if (method.endsWith("svd") && rank > Math.min(inputSize, outputSize))
    throw new TunesmithError("config", {
      where: "merging: rank",
      rule: "no rank is larger than the sides of its weight",
      seen: `${rank} for ${path}, which is [${outputSize}, ${inputSize}]`,
      fix: `use at most ${Math.min(inputSize, outputSize)}`,
    });
  if (method === "svd") return factorsOfSum(modules, weights, { rank }, options.random);
  if (method.endsWith("_svd")) {
    const combine = COMBINATIONS[method.slice(0, -"_svd".length) as Combination];
    const data = combine(modules.map(productOf), weights, options);
    return factorsOf({ data, rows: outputSize, columns: inputSize }, { rank }, options.random);
  }
  const combine = COMBINATIONS[method as Combination];
  if (new Set(modules.map((module) => module.rank)).size > 1)
    throw new TunesmithError("checkpoint", {
      where: `merging: ${path}`,
      rule: `"${method}" adds matrices of one rank`,
      seen: `ranks ${modules.map((module) => module.rank).join(" and ")}`,
      fix: "use cat or svd, or give the adapters one rank: tunesmith adapter convert DIR --to lora --rank 8 --out DIR",
    });
  // Each side takes the root of what its product is to be multiplied with, one of them the sign.
  const strengths = modules.map(({ scaling }, i) => scaling * weights[i]!);
  const roots = strengths.map((strength) => Math.sqrt(Math.abs(strength)));
  const signed = roots.map((root, i) => (strengths[i]! < 0 ? -root : root));
  return {
    a: combine(
      modules.map(({ a }) => a),
      signed,
      options,
    ),
    b: combine(
      modules.map(({ b }) => b),
      roots,
      options,
    ),
    rank: modules[0]!.rank,
    inputSize,
    outputSize,
    scaling: 1,
  };
}

const ranksOf = ({ modules }: PlainLora): number[] =>
  [...modules.values()].map((module) => module.rank);

/** The modules by their last names where that says the same, else undefined: by their whole paths. */
function sharedTargets(
  loras: readonly PlainLora[],
  paths: readonly string[],
): readonly string[] | undefined {
  const isEverywhere = loras.every(({ modules }) => modules.size === paths.length);
  const names = loras[0]!.targets;
  return isEverywhere && loras.every(({ targets }) => targets?.join() === names?.join())
    ? names
    : undefined;
}

function checkSettings(
  loras: readonly PlainLora[],
  weights: readonly number[],
  method: string,
  { density, rank }: MergeSettings,
): void {
  const faults: Fault[] = [];
  const fault = (what: string, rule: string, seen: string, fix: string) =>
    faults.push({ where: `merging: ${what}`, rule, seen, fix });
  if (loras.length === 0) fault("adapters", "there is at least one", "none", "name their folders");
  if (weights.length !== loras.length || !weights.every(Number.isFinite))
    fault(
      "weights",
      "there is one number for each adapter",
      `${weights.join(", ") || "none"} for ${loras.length} adapters`,
      "give as many weights as adapters",
    );
  if (!(MERGE_METHODS as readonly string[]).includes(method)) {
    const guess = nearest(method, MERGE_METHODS);
    const fix = guess ? `nearest is ${JSON.stringify(guess)}` : "choose one of these";
    fault("method", `is one of ${MERGE_METHODS.join(", ")}`, JSON.stringify(method), fix);
  }
  const prunes = PRUNING.some((name) => method.startsWith(name));
  if (density === undefined ? prunes : !(density > 0 && density <= 1))
    fault(
      "density",
      "is the share that pruning keeps, above 0 and at most 1",
      density === undefined ? `none, with "${method}"` : String(density),
      "use 0.5 to keep half of the elements",
    );
  if (rank !== undefined && !(Number.isInteger(rank) && rank > 0))
    fault("rank", "is a whole number above 0", String(rank), "leave it out, or use 8");
  if (rank !== undefined && !method.endsWith("svd"))
    fault("rank", "belongs to the methods with svd", `${rank} with "${method}"`, "leave it out");
  if (faults.length > 0) throw new TunesmithError("config", faults);
}

function checkShapes(loras: readonly PlainLora[]): void {
  const first = new Map<string, { readonly module: LoraModule; readonly source: string }>();
  for (const { modules, source } of loras)
    for (const [path, module] of modules) {
      const known = first.get(path);
      if (!known) first.set(path, { module, source });
      else if (
        known.module.inputSize !== module.inputSize ||
        known.module.outputSize !== module.outputSize
      )
        throw new TunesmithError("checkpoint", {
          where: `merging: ${path}`,
          rule: "adapters that are merged were made for one model",
          seen: `[${known.module.outputSize}, ${known.module.inputSize}] in ${known.source}, [${module.outputSize}, ${module.inputSize}] in ${source}`,
          fix: "merge adapters of the same base model",
        });
    }
}
