// AdaLoRA (Zhang et al. 2023): y = W x + b + s · B diag(E) A dropout(x), the form of a singular value
// decomposition, whose least important triplets are pruned while it trains. Names, defaults and files
// are those of PEFT's `AdaLoraConfig`; what PEFT leaves to the user's loop is the method's schedule here.

import { TunesmithError } from "../../errors.ts";
import type { AuxiliaryLoss } from "../../models/index.ts";
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
} from "../../tensor/index.ts";
import { adaptedModules, shownTargets } from "../adapted-modules.ts";
import { addProduct } from "../lora/lora-product.ts";
import type { BoundMethod, MethodDefinition, MethodScope, ModelDescription } from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { refuseOutput } from "../targets.ts";
import { patternKey, savedAdapter } from "./adalora-file.ts";
import { adaloraModule, scheduleState } from "./adalora-modules.ts";
import {
  type AdaloraOptions,
  type AdaloraSettings,
  adaloraLayout,
  adaloraSchema,
  fromAdaloraConfig,
} from "./adalora-options.ts";
import { rankSchedule } from "./adalora-schedule.ts";

/** @throws TunesmithError (config) for targets that the model does not have and ranks that do not fit */
function bindAdalora(given: AdaloraOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(adaloraSchema, given);
  const { initialRank, alpha, dropout, orthogonality, rankPattern } = options;
  checkRanks(options);
  const { modules: targets, replaces } = adaptedModules(model, options);
  if (options.orthogonality > 0)
    refuseOutput(model, targets, "AdaLoRA with its orthogonality loss");
  const modules = new Map(
    targets.map((target) => {
      const kept = rankPattern?.[patternKey(target.path)];
      const rank = kept ? kept.filter((stays) => stays).length : initialRank;
      return [target.path, adaloraModule(target, rank)];
    }),
  );
  // A module without ranks is its frozen self, and its tensors are empty.
  const active = [...modules.values()].filter(({ rank }) => rank > 0);
  // PEFT adds a small number, and divides by the first rank also when fewer are left.
  const scaling = alpha / (initialRank + 1e-5);
  const schedule = rankPattern ? undefined : rankSchedule(options, active);

  return {
    name: "adalora",
    adapted: [...modules.keys()],
    parameters: [
      ...active.flatMap(({ a, b, e }) => [a.spec, b.spec, e.spec]),
      ...replaces.values(),
      ...(schedule ? scheduleState(active) : []),
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
      const [a, b, e] = [module.a.spec, module.b.spec, module.e.spec];
      addProduct({ ...module, a, b, scaling }, data, (spec) =>
        spec === a ? withValues(values(a), values(e)) : values(spec),
      );
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

/** A with its rows times E. */
function withValues(a: Float32Array, e: Float32Array): Float32Array {
  const width = a.length / e.length;
  return a.map((value, i) => value * e[Math.floor(i / width)]!);
}

export const adalora = {
  schema: adaloraSchema,
  learningRate: 1e-3,
  describe: ({ initialRank = 12, targetRank = 8, targets }) =>
    `AdaLoRA, from rank ${initialRank} to ${targetRank} on average, on ${shownTargets(targets)}`,
  bind: bindAdalora,
  peft: { type: adaloraLayout.type, options: fromAdaloraConfig },
} satisfies MethodDefinition<AdaloraOptions>;
