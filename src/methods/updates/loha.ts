// LoHa (Hyeon-Woo et al. 2022, FedPara): W + s · (A₁ B₁) ∘ (A₂ B₂), an elementwise product of two
// low-rank ones, whose rank is up to the square of theirs. Names and files are those of PEFT's
// `LoHaConfig`.

import { z } from "zod";
import { add, constant, matmul, multiply, reshape, type Tensor } from "../../tensor/index.ts";
import { adaptedModules, peftPath, shownTargets } from "../adapted-modules.ts";
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import type {
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
} from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { kaimingUniform, zeroSpec } from "../parts/initial-values.ts";
import { linearWith, lowRank } from "../parts/low-rank.ts";
import { addElements } from "../parts/merge-weights.ts";
import { type PeftLayout, peftKind, toPeftConfig } from "../peft-format.ts";
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

interface LowRankProduct {
  /** [out, rank] */
  readonly a: ParameterSpec;
  /** [rank, in] */
  readonly b: ParameterSpec;
}

type HadamardProduct = readonly [LowRankProduct, LowRankProduct];

/** @throws TunesmithError (config) for targets that the model does not have */
function bindLoha(given: LohaOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(lohaSchema, given);
  const adapted = adaptedModules(model, options);
  return boundUpdate("loha", adapted, (module) => hadamardUpdate(options, module), {
    config: toPeftConfig(layout, options, model, adapted.modules),
  });
}

function hadamardUpdate(options: z.output<typeof lohaSchema>, module: LinearModule): ModuleUpdate {
  const { path, inputSize, outputSize } = module;
  const { rank, rankUse, scaling } = ownRank(options, module);
  const key = (name: string) => `${peftPath(path)}.hada_${name}`;
  const product = (name: string, isZero: boolean): LowRankProduct => ({
    a: kaimingUniform(key(`${name}_a`), [outputSize, rank]),
    b: (isZero ? zeroSpec : kaimingUniform)(key(`${name}_b`), [rank, inputSize]),
  });
  const products = [product("w1", false), product("w2", options.init)] as const;
  return {
    parameters: products.flatMap(({ a, b }) => [a, b]),
    // Products of rank r have up to r², and yet every matrix there is as one of the two at min(in, out).
    ranks: [rankUse],
    apply: (x, base, scope) =>
      isCheaperFactored(module, rank, x.shape[0]!, scope.training)
        ? add(factored(products, scaling, x, scope), base(x))
        : linearWith(module, hadamardProduct(products, scaling, scope), x, scope),
    mergeWeight(weight, values) {
      const numbers = products.map(({ a, b }) => [values(a), values(b)] as const);
      addElements(weight, inputSize, (out, column) => {
        let element = scaling;
        for (const [a, b] of numbers) {
          let sum = 0;
          for (let r = 0; r < rank; r++) sum += a[out * rank + r]! * b[r * inputSize + column]!;
          element *= sum;
        }
        return element;
      });
    },
  };
}

/**
 * Whether fewer multiplications are needed as a LoRA of rank² than with the weight that comes of it,
 * which costs its making and, in training, a gradient of its size.
 */
function isCheaperFactored(
  { inputSize, outputSize }: LinearModule,
  rank: number,
  rows: number,
  training: boolean,
): boolean {
  const asFactors = rows * rank * rank * (inputSize + outputSize) * (training ? 3 : 1);
  const making = 2 * rank * (training ? 4 : 1);
  return asFactors < inputSize * outputSize * (making + (training ? rows : 0));
}

/**
 * s · ((A₁ B₁) ∘ (A₂ B₂)) x without the weight: (A₁ B₁) ∘ (A₂ B₂) = A B with all products of a column of
 * A₁ and one of A₂, and likewise rows.
 */
function factored(
  products: HadamardProduct,
  scaling: number,
  x: Tensor,
  scope: MethodScope,
): Tensor {
  const [b1, b2] = products.map(({ b }) => scope.parameter(b)) as [Tensor, Tensor];
  const [a1, a2] = products.map(({ a }) => scope.parameter(a)) as [Tensor, Tensor];
  const [rank, inputSize] = b1.shape as [number, number];
  const outputSize = a1.shape[0]!;
  const wideB = reshape(
    multiply(reshape(b1, [rank, 1, inputSize]), reshape(b2, [1, rank, inputSize])),
    [rank * rank, inputSize],
  );
  const wideA = reshape(
    multiply(reshape(a1, [outputSize, rank, 1]), reshape(a2, [outputSize, 1, rank])),
    [outputSize, rank * rank],
  );
  return lowRank(x, wideB, wideA, constant(scaling));
}

/** s · (A₁ B₁) ∘ (A₂ B₂), a change of the weight [out, in]. */
function hadamardProduct(
  [first, second]: HadamardProduct,
  scaling: number,
  scope: MethodScope,
): Tensor {
  const product = ({ a, b }: LowRankProduct, scale: number) =>
    matmul(scope.parameter(a), scope.parameter(b), { scale });
  return multiply(product(first, scaling), product(second, 1));
}

export const loha = {
  schema: lohaSchema,
  learningRate: 2e-4,
  describe: ({ rank = 8, targets }) => `LoHa, rank ${rank}, on ${shownTargets(targets)}`,
  bind: bindLoha,
  peft: peftKind(lohaSchema, layout),
} satisfies MethodDefinition<LohaOptions>;
