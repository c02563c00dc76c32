// AdaLoRA (Zhang et al. 2023): y = W x + b + s · B diag(E) A dropout(x), the form of a singular value
// decomposition, whose least important triplets are pruned while it trains. Names, defaults and files
// are those of PEFT's `AdaLoraConfig`; what PEFT leaves to the user's loop is the method's schedule here.

import { TunesmithError } from "../errors.ts";
import type { AdapterTensor } from "../hub/index.ts";
import {
  add,
  constant,
  constantTensor,
  linear,
  matmul,
  multiply,
  reshape,
  subtract,
  sum,
  type Tensor,
} from "../tensor/index.ts";
import {
  type AdaloraOptions,
  type AdaloraSettings,
  adaloraLayout,
  adaloraSchema,
  fromAdaloraConfig,
  NO_PLAN,
} from "./adalora-options.ts";
import { adaptedModules, peftPath, shownTargets } from "./adapted-modules.ts";
import type {
  AuxiliaryLoss,
  BoundMethod,
  MethodDefinition,
  MethodSchedule,
  MethodScope,
  ModelDescription,
  ParameterSpec,
  ParameterValues,
  SavedAdapter,
} from "./method.ts";
import { completeOptions } from "./option-schema.ts";
import { toPeftConfig } from "./peft-format.ts";
import {
  allocate,
  type BudgetPlan,
  budgetAt,
  type Factor,
  lastAllocation,
  type Triplets,
  updateImportance,
  zeroDropped,
} from "./rank-allocation.ts";
import type { LinearModule } from "./targets.ts";

/** A tensor of a module, and its running importance. */
interface ScoredParameter {
  readonly spec: ParameterSpec;
  readonly sensitivity: ParameterSpec;
  readonly uncertainty: ParameterSpec;
}

interface AdaptedModule extends LinearModule {
  readonly rank: number;
  readonly a: ScoredParameter;
  readonly b: ScoredParameter;
  readonly e: ScoredParameter;
  /** 1 for the triplets that stay, else 0. */
  readonly kept: ParameterSpec;
}

/** What the plan came to be: [total, initial, final] steps; zeros before a run has begun. */
const PLAN: ParameterSpec = {
  key: "adalora.plan",
  shape: [3],
  state: true,
  initial: async () => new Float32Array(3),
};

/** @throws TunesmithError (config) for targets that the model does not have and ranks that do not fit */
function bindAdalora(given: AdaloraOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(adaloraSchema, given);
  const { initialRank, alpha, dropout, orthogonality, rankPattern } = options;
  checkRanks(options);
  const { modules: targets, replaces } = adaptedModules(model, options);
  const modules = new Map(
    targets.map((target) => {
      const kept = rankPattern?.[patternKey(target.path)];
      const rank = kept ? kept.filter((stays) => stays).length : initialRank;
      return [target.path, adaptedModule(target, rank)];
    }),
  );
  // A module without ranks is its frozen self, and its tensors are empty.
  const active = [...modules.values()].filter(({ rank }) => rank > 0);
  // PEFT adds a small number, and divides by the first rank also when fewer are left.
  const scaling = alpha / (initialRank + 1e-5);
  const scored = active.flatMap(({ a, b, e }) => [a, b, e]);
  const state = [
    PLAN,
    ...scored.flatMap(({ sensitivity, uncertainty }) => [sensitivity, uncertainty]),
    ...active.map(({ kept }) => kept),
  ];
  const schedule = rankPattern ? undefined : rankSchedule(options, active);

  return {
    name: "adalora",
    adapted: [...modules.keys()],
    parameters: [
      ...scored.map(({ spec }) => spec),
      ...replaces.values(),
      ...(schedule ? state : []),
    ],
    replaces,
    linear(path, x, base, scope) {
      const module = modules.get(path);
      if (!module || module.rank === 0) return base(x);
      const { rank, a, b, e } = module;
      const [right, left] = [scope.parameter(a.spec), scope.parameter(b.spec)];
      if (scope.training && orthogonality > 0) reportGrams(path, right, left, rank, scope);
      const values = multiply(reshape(scope.parameter(e.spec), [1, rank]), constant(scaling));
      const low = multiply(linear(scope.dropout(x, dropout, path), right), values);
      return add(linear(low, left), base(x));
    },
    ...(orthogonality > 0 && {
      // As PEFT's, a mean over all factors: those of modules without ranks add nothing to its sum.
      auxiliaryLoss: (grams) => orthogonalityLoss(grams, orthogonality / (2 * modules.size)),
    }),
    ...(schedule && { schedule }),
    mergeInto(weight, data, values) {
      const module = modules.get(weight.replace(/\.weight$/, ""));
      if (!module || module.rank === 0 || !weight.endsWith(".weight")) return;
      addTriplets(data, module, values, scaling);
    },
    saved: savedAdapter(options, model, [...modules.values()], [...replaces.values()]),
  };
}

/** @throws TunesmithError (config) */
function checkRanks({ initialRank, targetRank, rankPattern }: AdaloraSettings): void {
  if (targetRank > initialRank)
    throw new TunesmithError("config", {
      where: "method.targetRank",
      rule: "pruning leaves at most the ranks that there are at the start",
      seen: `targetRank ${targetRank}, and initialRank ${initialRank}`,
      fix: `use an initialRank above ${targetRank}: half as much again is usual`,
    });
  const odd = Object.entries(rankPattern ?? {}).find(([, kept]) => kept.length !== initialRank);
  if (odd)
    throw new TunesmithError("config", {
      where: `method.rankPattern: ${odd[0]}`,
      rule: `tells of each of the ${initialRank} ranks at the start whether it was kept`,
      seen: `${odd[1].length} values`,
      fix: "use the pattern together with the initialRank that it was made with",
    });
}

/** A module's name in PEFT's `rank_pattern`. */
const patternKey = (path: string): string => `${path}.lora_E`;

function adaptedModule(target: LinearModule, rank: number): AdaptedModule {
  const { path, inputSize, outputSize } = target;
  const tensor = (name: string, shape: readonly number[], deviation: number): ScoredParameter => {
    const key = `${peftPath(path)}.${name}`;
    const length = shape[0]! * shape[1]!;
    const zeros = async () => new Float32Array(length);
    return {
      spec: {
        key,
        shape,
        initial: async (random) => {
          const stream = random.fork(`${path} ${name}`);
          return Float32Array.from({ length }, () => deviation * stream.normal());
        },
      },
      sensitivity: { key: `${key}.sensitivity`, shape, state: true, initial: zeros },
      uncertainty: { key: `${key}.uncertainty`, shape, state: true, initial: zeros },
    };
  };
  return {
    ...target,
    rank,
    a: tensor("lora_A", [rank, inputSize], 0.02),
    b: tensor("lora_B", [outputSize, rank], 0.02),
    e: tensor("lora_E", [rank, 1], 0),
    kept: {
      key: `${peftPath(path)}.kept`,
      shape: [rank],
      state: true,
      initial: async () => new Float32Array(rank).fill(1),
    },
  };
}

/** Reports ‖A Aᵀ − I‖² and ‖Bᵀ B − I‖² of a module. */
function reportGrams(path: string, a: Tensor, b: Tensor, rank: number, scope: MethodScope): void {
  const diagonal = Float32Array.from({ length: rank * rank }, (_, i) =>
    i % (rank + 1) === 0 ? 1 : 0,
  );
  const identity = constantTensor(diagonal, [rank, rank]);
  const report = (name: string, gram: Tensor) => {
    const excess = subtract(gram, identity);
    scope.statistic(`${path} ${name}`, sum(multiply(excess, excess), [0, 1]));
  };
  report("A", matmul(a, a, { transposeB: true }));
  report("B", matmul(b, b, { transposeA: true }));
}

/** `weight` · Σ ‖·‖, from the squares of the norms (the paper's equation 4 has the squares themselves). */
function orthogonalityLoss(
  squares: ReadonlyMap<string, Float32Array>,
  weight: number,
): AuxiliaryLoss {
  let loss = 0;
  const gradients = new Map<string, Float32Array>();
  for (const [name, [square]] of squares) {
    const norm = Math.sqrt(square!);
    loss += weight * norm;
    gradients.set(name, Float32Array.of(norm > 0 ? weight / (2 * norm) : 0));
  }
  return { loss, gradients };
}

/** The pruning that PEFT's users call `update_and_allocate` for, at the place that its page shows. */
function rankSchedule(options: AdaloraSettings, modules: readonly AdaptedModule[]): MethodSchedule {
  const { initialRank, targetRank, interval, beta1, beta2 } = options;
  const planOf = (values: ParameterValues): BudgetPlan => {
    const [totalSteps = 0, initialSteps = 0, finalSteps = 0] = values(PLAN);
    return {
      totalSteps,
      initialSteps,
      finalSteps,
      interval,
      initialBudget: initialRank * modules.length,
      targetBudget: targetRank * modules.length,
    };
  };
  return {
    begin(runSteps, values) {
      values(PLAN).set(stepsOfPlan(options, runSteps));
    },
    afterStep(step, values, gradients, gradientScale) {
      const plan = planOf(values);
      const last = lastAllocation(plan);
      const factor = ({ spec, sensitivity, uncertainty }: ScoredParameter): Factor => ({
        values: values(spec),
        gradient: gradients(spec),
        sensitivity: values(sensitivity),
        uncertainty: values(uncertainty),
      });
      const triplets = modules.map(
        ({ rank, a, b, e, kept }): Triplets => ({
          rank,
          a: factor(a),
          b: factor(b),
          e: factor(e),
          kept: values(kept),
        }),
      );
      if (step < last)
        for (const { a, b, e } of triplets)
          for (const part of [a, b, e]) updateImportance(part, gradientScale, beta1, beta2);
      const budget = budgetAt(step, plan);
      if (budget !== undefined) allocate(triplets, budget);
      else if (step > last) triplets.forEach(zeroDropped);
    },
  };
}

/**
 * Total, initial and final steps.
 * @throws TunesmithError (config) where nothing is left for pruning, or nothing says how long training is
 */
function stepsOfPlan(
  { totalSteps, initialSteps, finalSteps }: AdaloraSettings,
  runSteps: number | undefined,
): [number, number, number] {
  const total = totalSteps ?? runSteps;
  if (total === undefined)
    throw new TunesmithError("config", {
      where: "method.totalSteps",
      rule: "AdaLoRA's ranks follow a plan over all steps of the training",
      seen: "training without a known number of steps",
      fix: "say how many there will be, such as totalSteps: 1000 (in a recipe: train.maxSteps)",
    });
  const initial = initialSteps ?? Math.floor(total / 10);
  const final = finalSteps ?? Math.max(1, Math.floor((3 * total) / 10));
  if (initial < total - Math.max(1, final)) return [total, initial, final];
  throw new TunesmithError("config", {
    where: "method.initialSteps, method.finalSteps",
    rule: "there are steps left for pruning between the initial and the final ones",
    seen: `${initial} initial and ${final} final steps of ${total}`,
    fix: "use fewer of them, or train for more steps",
  });
}

/** weight += scaling · B diag(E) A. */
function addTriplets(
  weight: Float32Array,
  { a, b, e, rank, inputSize, outputSize }: AdaptedModule,
  values: ParameterValues,
  scaling: number,
): void {
  const [right, left, singular] = [values(a.spec), values(b.spec), values(e.spec)];
  const row = new Float64Array(inputSize);
  for (let out = 0; out < outputSize; out++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const factor = scaling * left[out * rank + r]! * singular[r]!;
      if (factor !== 0)
        for (let i = 0; i < inputSize; i++) row[i]! += factor * right[r * inputSize + i]!;
    }
    for (let i = 0; i < inputSize; i++) weight[out * inputSize + i]! += row[i]!;
  }
}

/** A file has the kept triplets alone, and its config says which these were. */
function savedAdapter(
  options: AdaloraSettings,
  model: ModelDescription,
  modules: readonly AdaptedModule[],
  replaced: readonly ParameterSpec[],
): SavedAdapter {
  const { rankPattern } = options;
  const config = toPeftConfig(adaloraLayout, options, model, modules);
  const keptRanks = (module: AdaptedModule, values: ParameterValues): number[] => {
    const all = Array.from({ length: module.rank }, (_, r) => r);
    return rankPattern ? all : all.filter((r) => values(module.kept)[r] === 1);
  };
  const pattern = (values: ParameterValues) =>
    Object.fromEntries(
      modules.map((module) => [
        patternKey(module.path),
        [...values(module.kept)].map((kept) => kept === 1),
      ]),
    );
  return {
    config(values) {
      if (rankPattern) return config;
      const ranks = pattern(values);
      const isPruned = Object.values(ranks).flat().includes(false);
      const [total, initial = 0, final = 0] = values(PLAN);
      const plan = total
        ? { total_step: total, tinit: initial, tfinal: final }
        : {
            total_step: options.totalSteps ?? NO_PLAN,
            tinit: config.tinit ?? 0,
            tfinal: config.tfinal ?? 0,
          };
      return { ...config, ...plan, rank_pattern: isPruned ? ranks : null };
    },
    tensors: (values) =>
      new Map<string, AdapterTensor>([
        ...modules.flatMap((module): [string, AdapterTensor][] => {
          const { a, b, e, rank, inputSize, outputSize } = module;
          const ranks = keptRanks(module, values);
          const data = ({ spec }: ScoredParameter) =>
            rank > 0 ? values(spec) : new Float32Array(0);
          const columns = Array.from({ length: outputSize }, (_, out) =>
            ranks.map((r) => data(b)[out * rank + r]!),
          );
          return [
            [
              a.spec.key,
              { shape: [ranks.length, inputSize], data: rowsOf(data(a), ranks, inputSize) },
            ],
            [
              b.spec.key,
              { shape: [outputSize, ranks.length], data: Float32Array.from(columns.flat()) },
            ],
            [e.spec.key, { shape: [ranks.length, 1], data: rowsOf(data(e), ranks, 1) }],
          ];
        }),
        ...replaced.map((spec): [string, AdapterTensor] => [
          spec.key,
          { shape: spec.shape, data: values(spec) },
        ]),
      ]),
    read: (tensors) => new Map([...tensors].filter(([, { data }]) => data.length > 0)),
  };
}

function rowsOf(data: Float32Array, rows: readonly number[], width: number): Float32Array {
  const chosen = new Float32Array(rows.length * width);
  rows.forEach((row, i) => {
    chosen.set(data.subarray(row * width, (row + 1) * width), i * width);
  });
  return chosen;
}

export const adalora = {
  schema: adaloraSchema,
  learningRate: 1e-3,
  describe: ({ initialRank = 12, targetRank = 8, targets }) =>
    `AdaLoRA, from rank ${initialRank} to ${targetRank} on average, on ${shownTargets(targets)}`,
  bind: bindAdalora,
  peft: { type: adaloraLayout.type, options: fromAdaloraConfig },
} satisfies MethodDefinition<AdaloraOptions>;
