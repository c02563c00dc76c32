// LoHa (Hyeon-Woo et al. 2022, FedPara): W + s · (A₁ B₁) ∘ (A₂ B₂), an elementwise product of two
// low-rank ones, whose rank is up to the square of theirs. Names and files are those of PEFT's
// `LoHaConfig`.

import { z } from "zod";
import {
  add,
  constant,
  linear,
  matmul,
  multiply,
  reshape,
  type Tensor,
} from "../../tensor/index.ts";
import { adaptedModules, peftPath, shownTargets } from "../adapted-modules.ts";
import type {
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
} from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { kaimingUniform, zeroSpec } from "../parts/initial-values.ts";
import { fromPeftConfig, type PeftLayout, toPeftConfig } from "../peft-format.ts";
import type { LinearModule } from "../targets.ts";
import { LYCORIS_PEFT_KEYS, LYCORIS_UNUSED, lycorisKeys, ownRank } from "./lycoris.ts";

const lohaSchema = z.strictObject({
  name: z
    .literal("loha")
    .describe("Elementwise products of two low-rank matrices (Hyeon-Woo et al. 2022)."),
  ...lycorisKeys,
  init: z
    .boolean()
    .default(true)
    .describe("How factors start: true is from zero, false random throughout."),
});

export type LohaOptions = z.input<typeof lohaSchema>;

const layout: PeftLayout = {
  type: "LOHA",
  keys: { ...LYCORIS_PEFT_KEYS, init: "init_weights" },
  unused: LYCORIS_UNUSED,
};

interface AdaptedModule extends LinearModule {
  /** A [out, rank] and B [rank, in] of both products. */
  readonly a: readonly [ParameterSpec, ParameterSpec];
  readonly b: readonly [ParameterSpec, ParameterSpec];
  readonly rank: number;
  readonly scaling: number;
}

/** @throws TunesmithError (config) for targets that the model does not have */
function bindLoha(given: LohaOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(lohaSchema, given);
  const { modules, replaces } = adaptedModules(model, options);
  const adapted = new Map<string, AdaptedModule>();
  for (const module of modules) {
    const { path, outputSize, inputSize } = module;
    const { rank, scaling } = ownRank(options, path);
    const key = (name: string) => `${peftPath(path)}.hada_${name}`;
    const last: [number, number] = [rank, inputSize];
    adapted.set(path, {
      ...module,
      rank,
      scaling,
      a: [
        kaimingUniform(key("w1_a"), [outputSize, rank]),
        kaimingUniform(key("w2_a"), [outputSize, rank]),
      ],
      b: [
        kaimingUniform(key("w1_b"), last),
        options.init ? zeroSpec(key("w2_b"), last) : kaimingUniform(key("w2_b"), last),
      ],
    });
  }
  return {
    name: "loha",
    adapted: [...adapted.keys()],
    parameters: [
      ...[...adapted.values()].flatMap(({ a, b }) => [a[0], b[0], a[1], b[1]]),
      ...replaces.values(),
    ],
    replaces,
    linear(path, x, base, scope) {
      const module = adapted.get(path);
      if (!module) return base(x);
      return isCheaperFactored(module, x.shape[0]!, scope.training)
        ? factored(module, x, base, scope)
        : withWeight(module, x, scope);
    },
    mergeInto(weight, data, values) {
      const module = adapted.get(weight.replace(/\.weight$/, ""));
      if (!module || !weight.endsWith(".weight")) return;
      const { inputSize, rank, scaling } = module;
      const [a, b] = [module.a.map(values), module.b.map(values)];
      for (let i = 0; i < data.length; i++) {
        const [row, column] = [Math.floor(i / inputSize), i % inputSize];
        let product = scaling;
        for (let half = 0; half < 2; half++) {
          let sum = 0;
          for (let r = 0; r < rank; r++)
            sum += a[half]![row * rank + r]! * b[half]![r * inputSize + column]!;
          product *= sum;
        }
        data[i]! += product;
      }
    },
    saved: { config: toPeftConfig(layout, options, model, modules) },
  };
}

/**
 * Whether fewer multiplications are needed as a LoRA of rank² than with the weight that comes of it,
 * which costs its making and, in training, a gradient of its size.
 */
function isCheaperFactored(module: AdaptedModule, rows: number, training: boolean): boolean {
  const { inputSize, outputSize, rank } = module;
  const asFactors = rows * rank * rank * (inputSize + outputSize) * (training ? 3 : 1);
  const making = 2 * rank * (training ? 4 : 1);
  return asFactors < inputSize * outputSize * (making + (training ? rows : 0));
}

/** (A₁ B₁) ∘ (A₂ B₂) = A B with all products of a column of A₁ and one of A₂, and likewise rows. */
function factored(
  { a, b, rank, scaling, inputSize, outputSize }: AdaptedModule,
  x: Tensor,
  base: (x: Tensor) => Tensor,
  scope: MethodScope,
): Tensor {
  const [b1, b2] = b.map(scope.parameter) as [Tensor, Tensor];
  const [a1, a2] = a.map(scope.parameter) as [Tensor, Tensor];
  const wideB = reshape(
    multiply(reshape(b1, [rank, 1, inputSize]), reshape(b2, [1, rank, inputSize])),
    [rank * rank, inputSize],
  );
  const wideA = reshape(
    multiply(reshape(a1, [outputSize, rank, 1]), reshape(a2, [outputSize, 1, rank])),
    [outputSize, rank * rank],
  );
  const low = multiply(linear(x, wideB), constant(scaling));
  return add(linear(low, wideA), base(x));
}

function withWeight(
  { path, a, b, scaling, hasBias }: AdaptedModule,
  x: Tensor,
  scope: MethodScope,
): Tensor {
  const product = (half: 0 | 1, scale = 1) =>
    matmul(scope.parameter(a[half]), scope.parameter(b[half]), { scale });
  const added = multiply(product(0, scaling), product(1));
  const y = linear(x, add(scope.weight(`${path}.weight`), added));
  return hasBias ? add(y, scope.weight(`${path}.bias`)) : y;
}

export const loha = {
  schema: lohaSchema,
  learningRate: 2e-4,
  describe: ({ rank = 8, targets }) => `LoHa, rank ${rank}, on ${shownTargets(targets)}`,
  bind: bindLoha,
  peft: {
    type: layout.type,
    options: (config, folder) => fromPeftConfig(lohaSchema, layout, config, folder),
  },
} satisfies MethodDefinition<LohaOptions>;
