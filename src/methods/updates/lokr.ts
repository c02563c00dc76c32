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
import type {
  BoundMethod,
  MethodDefinition,
  MethodScope,
  ModelDescription,
  ParameterSpec,
  ParameterValues,
} from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { kaimingUniform, zeroSpec } from "../parts/initial-values.ts";
import { addProduct } from "../parts/merge-weights.ts";
import { fromPeftConfig, type PeftLayout, toPeftConfig } from "../peft-format.ts";
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

interface AdaptedModule extends LinearModule {
  /** W₁ [rows, columns] and W₂ [rows, columns]; the products of both are the weight's sizes. */
  readonly sizes: readonly [small: Size, large: Size];
  readonly small: Factor;
  readonly large: Factor;
  readonly scaling: number;
}

type Size = readonly [rows: number, columns: number];

/** @throws TunesmithError (config) for targets that the model does not have */
function bindLokr(given: LokrOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(lokrSchema, given);
  const { decomposeBoth, decomposeFactor, init } = options;
  const { modules, replaces } = adaptedModules(model, options);
  const adapted = new Map<string, AdaptedModule>();
  for (const module of modules) {
    const { path, inputSize, outputSize } = module;
    const { rank, scaling } = ownRank(options, path);
    const [rows, columns] = [outputSize, inputSize].map((size) =>
      nearSquareFactors(size, decomposeFactor),
    ) as [Size, Size];
    const sizes = [
      [rows[0], columns[0]],
      [rows[1], columns[1]],
    ] as const;
    const isLow = (size: Size) => rank < Math.max(...size) / 2;
    const key = (name: string) => `${peftPath(path)}.lokr_${name}`;
    const matrix = (name: string, size: Size, isZero: boolean) =>
      isZero ? zeroSpec(key(name), size) : kaimingUniform(key(name), size);
    // The part of a product that is zero is its left one in W₁, its right one in W₂, as in PEFT.
    const small: Factor =
      decomposeBoth && isLow(sizes[0])
        ? [
            matrix("w1_a", [sizes[0][0], rank], init === true),
            matrix("w1_b", [rank, sizes[0][1]], false),
          ]
        : [matrix("w1", sizes[0], init === true)];
    const large: Factor = isLow(sizes[1])
      ? [
          matrix("w2_a", [sizes[1][0], rank], false),
          matrix("w2_b", [rank, sizes[1][1]], init === "lycoris"),
        ]
      : [matrix("w2", sizes[1], init === "lycoris")];
    adapted.set(path, { ...module, sizes, small, large, scaling });
  }
  return {
    name: "lokr",
    adapted: [...adapted.keys()],
    parameters: [
      ...[...adapted.values()].flatMap(({ small, large }) => [...small, ...large]),
      ...replaces.values(),
    ],
    replaces,
    linear(path, x, base, scope) {
      const module = adapted.get(path);
      return module ? add(kroneckerProduct(module, x, scope), base(x)) : base(x);
    },
    mergeInto(weight, data, values) {
      const module = adapted.get(weight.replace(/\.weight$/, ""));
      if (!module || !weight.endsWith(".weight")) return;
      const [[, smallColumns], [largeRows, largeColumns]] = module.sizes;
      const small = denseValues(module.small, values);
      const large = denseValues(module.large, values);
      for (let i = 0; i < data.length; i++) {
        const [row, column] = [Math.floor(i / module.inputSize), i % module.inputSize];
        const one =
          small[Math.floor(row / largeRows) * smallColumns + Math.floor(column / largeColumns)]!;
        const other = large[(row % largeRows) * largeColumns + (column % largeColumns)]!;
        data[i]! += module.scaling * one * other;
      }
    },
    saved: { config: toPeftConfig(layout, options, model, modules) },
  };
}

/**
 * s (W₁ ⊗ W₂) x without the weight: with x as a matrix X [columns of W₁, columns of W₂] it is
 * s W₁ X W₂ᵀ, far fewer multiplications than the full product, and no gradient of the weight's size.
 * In this order nothing has to be transposed.
 */
function kroneckerProduct(module: AdaptedModule, x: Tensor, scope: MethodScope): Tensor {
  const [[smallRows, smallColumns], [largeRows, largeColumns]] = module.sizes;
  const rows = x.shape[0]!;
  const states = reshape(x, [rows * smallColumns, largeColumns]);
  const [left, right] = module.large;
  const isLower = right && right.shape[0]! * (largeRows + largeColumns) < largeRows * largeColumns;
  const first = isLower
    ? linear(linear(states, scope.parameter(right)), scope.parameter(left))
    : linear(states, dense(module.large, scope));
  const w1 = multiply(dense(module.small, scope), constant(module.scaling));
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
  addProduct(product, { outputSize, inputSize, rank }, (o, r) => a[o * rank + r]!, values(right));
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
  peft: {
    type: layout.type,
    options: (config, folder) => fromPeftConfig(lokrSchema, layout, config, folder),
  },
} satisfies MethodDefinition<LokrOptions>;
