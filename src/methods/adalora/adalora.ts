// AdaLoRA (Zhang et al. 2023): y = W x + b + s · B diag(E) A dropout(x), the form of a singular value
// decomposition, whose least important triplets are pruned while it trains. Names, defaults and files
// are those of PEFT's `AdaLoraConfig`; what PEFT leaves to the user's loop is the method's schedule here.

import { TunesmithError } from "../../errors.ts";
import { add, constant, multiply, reshape } from "../../tensor/index.ts";
import { adaptedModules, shownTargets } from "../adapted-modules.ts";
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import { rankUse } from "../fitting-ranks.ts";
import type { BoundMethod, MethodDefinition, ModelDescription, TensorLoss } from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { lowRank } from "../parts/low-rank.ts";
import { addLowRank } from "../parts/merge-weights.ts";
import { patternKey, savedAdapter } from "./adalora-file.ts";
import {
  type AdaloraModule,
  adaloraModule,
  type ScoredParameter,
  scheduleState,
} from "./adalora-modules.ts";
import {
  type AdaloraOptions,
  type AdaloraSettings,
  adaloraLayout,
  adaloraSchema,
  fromAdaloraConfig,
} from "./adalora-options.ts";
import { rankSchedule } from "./adalora-schedule.ts";
import { distanceFromOrthogonal } from "./orthogonality.ts";

/** @throws TunesmithError (config) for targets that the model does not have and ranks that do not fit */
function bindAdalora(given: AdaloraOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(adaloraSchema, given);
  const { initialRank, orthogonality, rankPattern } = options;
  checkRanks(options);
  const adapted = adaptedModules(model, options);
  const modules = adapted.modules.map((target) => {
    const kept = rankPattern?.[patternKey(target.path)];
    return adaloraModule(target, kept ? kept.filter((stays) => stays).length : initialRank);
  });
  // A module without ranks is its frozen self, and its tensors are empty.
  const active = modules.filter(({ rank }) => rank > 0);
  const schedule = rankPattern ? undefined : rankSchedule(options, active);
  const saved = savedAdapter(options, model, modules, [...adapted.replaces.values()]);
  const bound = boundUpdate(
    "adalora",
    { ...adapted, modules },
    (module) => tripletUpdate(options, module),
    saved,
  );
  return {
    ...bound,
    parameters: [...bound.parameters, ...(schedule ? scheduleState(active) : [])],
    ...(orthogonality > 0 && {
      tensorLosses: orthogonalityLosses(active, orthogonality / (2 * modules.length)),
    }),
    ...(schedule && { schedule }),
  };
}

function tripletUpdate(
  { initialRank, alpha, dropout }: AdaloraSettings,
  module: AdaloraModule,
): ModuleUpdate {
  const { path, rank } = module;
  if (rank === 0) return { parameters: [], apply: (x, base) => base(x) };
  const [a, b, e] = [module.a.spec, module.b.spec, module.e.spec];
  // PEFT adds a small number, and divides by the first rank also when fewer are left.
  const scaling = alpha / (initialRank + 1e-5);
  return {
    parameters: [a, b, e],
    ranks: [rankUse("initialRank", rank, module)],
    apply(x, base, scope) {
      const [right, left] = [scope.parameter(a), scope.parameter(b)];
      const values = multiply(reshape(scope.parameter(e), [1, rank]), constant(scaling));
      return add(lowRank(scope.dropout(x, dropout, path), right, left, values), base(x));
    },
    mergeWeight(weight, values) {
      const left = values(b);
      const right = withValues(values(a), values(e));
      addLowRank(weight, module, (out, r) => scaling * left[out * rank + r]!, right);
    },
  };
}

/** As PEFT's, a mean over all factors: those of modules without ranks add nothing to its sum. */
function orthogonalityLosses(active: readonly AdaloraModule[], weight: number): TensorLoss[] {
  const term = ({ spec }: ScoredParameter, vectors: "rows" | "columns"): TensorLoss => ({
    spec,
    loss: (factor) => multiply(distanceFromOrthogonal(factor, vectors), constant(weight)),
  });
  return active.flatMap(({ a, b }) => [term(a, "rows"), term(b, "columns")]);
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

/** A with its rows times E. */
function withValues(a: Float32Array, e: Float32Array): Float32Array {
  const width = a.length / e.length;
  return a.map((value, i) => value * e[Math.floor(i / width)]!);
}

/** What the plan of pruning reads, which ranks that are fixed have none of. */
const PRUNING = [
  "initialSteps",
  "finalSteps",
  "interval",
  "totalSteps",
  "beta1",
  "beta2",
] as const satisfies readonly (keyof AdaloraOptions)[];

export const adalora = {
  schema: adaloraSchema,
  learningRate: 1e-3,
  describe: ({ initialRank = 12, targetRank = 8, targets }) =>
    `AdaLoRA, from rank ${initialRank} to ${targetRank} on average, on ${shownTargets(targets)}`,
  idle: PRUNING.map((option) => ({
    option,
    isIdle: ({ rankPattern }) => rankPattern !== undefined,
    needs: "no rankPattern",
  })),
  bind: bindAdalora,
  peft: { type: adaloraLayout.type, options: fromAdaloraConfig },
} satisfies MethodDefinition<AdaloraOptions>;
