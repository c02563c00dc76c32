// LoKr (Yeh et al. 2024, LyCORIS): W + s · W₁ ⊗ W₂, a Kronecker product of a small matrix and a larger
// one that may be a low-rank product itself. Names and files are those of PEFT's `LoKrConfig`.

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
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import { rankUse } from "../fitting-ranks.ts";
import type {
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
  ParameterValues,
  RankUse,
} from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { kaimingUniform, zeroSpec } from "../parts/initial-values.ts";
import { addElements, addLowRank } from "../parts/merge-weights.ts";
import { type PeftLayout, peftKind, toPeftConfig } from "../peft-format.ts";
import type { LinearModule } from "../targets.ts";
import { LYCORIS_PEFT_KEYS, LYCORIS_UNUSED, lycorisKeys, ownRank } from "./lycoris.ts";

const lokrSchema = z.strictObject({
  name: z.literal("lokr").describe("A Kronecker product of two small matrices (Yeh et al. 2024)."),
  ...lycorisKeys,
  decomposeBoth: z
    .boolean()
    .default(false)
    .describe("Whether the smaller matrix may be a low-rank product as well."),
  decomposeFactor: z
    .union([z.literal(-1), z.int().min(1)])
    .default(-1)
    .describe("Size of the smaller matrix; -1: as near to the square root as the sizes allow."),
  init: z
    .union([z.boolean(), z.literal("lycoris")])
    .default(true)
    .describe(
      "How factors start: true with a smaller matrix of zeros, lycoris with a larger one, false random.",
    ),
});

export type LokrOptions = z.input<typeof lokrSchema>;
type Settings = z.output<typeof lokrSchema>;

const layout: PeftLayout = {
  type: "LOKR",
  keys: {
    ...LYCORIS_PEFT_KEYS,
    decomposeBoth: "decompose_both",
    decomposeFactor: "decompose_factor",
    init: "init_weights",
  },
  unused: { ...LYCORIS_UNUSED, rank_dropout_scale: false },
};

/** One of the two matrices: as it is, or as a product of [rows, rank] and [rank, columns]. */
type Factor = readonly [ParameterSpec] | readonly [ParameterSpec, ParameterSpec];

interface KroneckerProduct {
  /** W₁ and W₂; the products of their sizes are the weight's. */
  readonly small: Factor;
  readonly large: Factor;
  readonly scaling: number;
  readonly ranks: readonly RankUse[];
  /** [rows, columns] of both. */
  readonly sizes: readonly [small: Size, large: Size];
}

type Size = readonly [rows: number, columns: number];

/** @throws TunesmithError (config) for targets that the model does not have */
function bindLokr(given: LokrOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(lokrSchema, given);
  const adapted = adaptedModules(model, options);
  return boundUpdate("lokr", adapted, (module) => kroneckerUpdate(options, module), {
    config: toPeftConfig(layout, options, model, adapted.modules),
  });
}

function kroneckerUpdate(options: Settings, module: LinearModule): ModuleUpdate {
  const product = kroneckerProduct(options, module);
  const [[, smallColumns], [largeRows, largeColumns]] = product.sizes;
  return {
    parameters: [...product.small, ...product.large],
    ranks: product.ranks,
    apply: (x, base, scope) => add(multiplied(product, x, scope), base(x)),
    mergeWeight(weight, values) {
      const small = denseValues(product.small, values);
      const large = denseValues(product.large, values);
      addElements(weight, module.inputSize, (out, column) => {
        const [row, place] = [Math.floor(out / largeRows), Math.floor(column / largeColumns)];
        const one = small[row * smallColumns + place]!;
        const other = large[(out % largeRows) * largeColumns + (column % largeColumns)]!;
        return product.scaling * one * other;
      });
    },
  };
}

function kroneckerProduct(options: Settings, module: LinearModule): KroneckerProduct {
  const { decomposeBoth, decomposeFactor, init } = options;
  const { path, inputSize, outputSize } = module;
  const { rank, rankUse: use, scaling } = ownRank(options, module);
  const rows = nearSquareFactors(outputSize, decomposeFactor);
  const columns = nearSquareFactors(inputSize, decomposeFactor);
  const sizes = [
    [rows[0], columns[0]],
    [rows[1], columns[1]],
  ] as const;
  const matrix = (name: string, size: Size, isZero: boolean) =>
    (isZero ? zeroSpec : kaimingUniform)(`${peftPath(path)}.lokr_${name}`, size);
  /** @param zero the part of the product that starts as zeros, if any */
  const factor = (
    name: string,
    size: Size,
    decomposes: boolean,
    zero: "left" | "right" | undefined,
  ): Factor =>
    decomposes && rank < Math.max(...size) / 2
      ? [
          matrix(`${name}_a`, [size[0], rank], zero === "left"),
          matrix(`${name}_b`, [rank, size[1]], zero === "right"),
        ]
      : [matrix(name, size, zero !== undefined)];
  // As in PEFT: of W₁ the left part is zero, of W₂ the right one.
  const small = factor("w1", sizes[0], decomposeBoth, init === true ? "left" : undefined);
  const large = factor("w2", sizes[1], true, init === "lycoris" ? "right" : undefined);
  const ofFactor = (factor: Factor, [rows, columns]: Size): RankUse[] =>
    // One that is whole has no rank: half of its larger side is how PEFT's users ask for it.
    factor.length === 2 ? [{ ...use, ...rankUse(use.option, rank, module, [rows, columns]) }] : [];
  return {
    small,
    large,
    scaling,
    ranks: [...ofFactor(small, sizes[0]), ...ofFactor(large, sizes[1])],
    sizes,
  };
}

/**
 * s (W₁ ⊗ W₂) x without the weight: with x as a matrix X [columns of W₁, columns of W₂] it is
 * s W₁ X W₂ᵀ, far fewer multiplications than the full product, and no gradient of the weight's size.
 * In this order nothing has to be transposed.
 */
function multiplied(product: KroneckerProduct, x: Tensor, scope: MethodScope): Tensor {
  const [[smallRows, smallColumns], [largeRows, largeColumns]] = product.sizes;
  const rows = x.shape[0]!;
  const states = reshape(x, [rows * smallColumns, largeColumns]);
  const [left, right] = product.large;
  const isLower = right && right.shape[0]! * (largeRows + largeColumns) < largeRows * largeColumns;
  const first = isLower
    ? linear(linear(states, scope.parameter(right)), scope.parameter(left))
    : linear(states, dense(product.large, scope));
  const w1 = multiply(dense(product.small, scope), constant(product.scaling));
  const second = matmul(w1, reshape(first, [rows, smallColumns, largeRows]));
  return reshape(second, [rows, smallRows * largeRows]);
}

function dense([left, right]: Factor, scope: MethodScope): Tensor {
  const first = scope.parameter(left);
  return right ? matmul(first, scope.parameter(right)) : first;
}

function denseValues([left, right]: Factor, values: ParameterValues): Float32Array {
  if (!right) return values(left);
  const [outputSize, rank] = left.shape as Size;
  const inputSize = right.shape[1]!;
  const product = new Float32Array(outputSize * inputSize);
  const a = values(left);
  addLowRank(product, { outputSize, inputSize, rank }, (o, r) => a[o * rank + r]!, values(right));
  return product;
}

/**
 * A size as a product of two, the smaller first: `factor` and the rest where that divides it, else the
 * two nearest to each other of which the smaller is at most `factor` (-1: any).
 */
export function nearSquareFactors(size: number, factor: number): Size {
  if (factor > 0 && size % factor === 0) return [factor, size / factor];
  const largest = Math.min(factor === -1 ? size : factor, Math.floor(Math.sqrt(size)));
  let smaller = Math.max(1, largest);
  while (size % smaller !== 0) smaller--;
  return [smaller, size / smaller];
}

export const lokr = {
  schema: lokrSchema,
  learningRate: 2e-4,
  describe: ({ rank = 8, targets }) => `LoKr, rank ${rank}, on ${shownTargets(targets)}`,
  bind: bindLokr,
  peft: peftKind(lokrSchema, layout),
} satisfies MethodDefinition<LokrOptions>;
