// BOFT (Liu et al. 2024): like OFT with a rotation that is a product of sparse ones, in a butterfly's
// order, so that small blocks reach all inputs; and a scale for each output: y = s ∘ (W Rᵀ x) + b. Names
// and files are those of PEFT's `BOFTConfig`.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import {
  add,
  constant,
  matmul,
  multiply,
  reshape,
  slice,
  subtract,
  type Tensor,
  transpose,
} from "../../tensor/index.ts";
import {
  adaptedModuleKeys,
  adaptedModules,
  BIAS_MEANING,
  peftPath,
  shownTargets,
} from "../adapted-modules.ts";
import { boundUpdate, type ModuleUpdate } from "../bound-update.ts";
import type { BoundMethod, MethodDefinition, ModelDescription } from "../method.ts";
import { completeOptions, count, derived } from "../option-schema.ts";
import { filledSpec, zeroSpec } from "../parts/initial-values.ts";
import { scaleRows } from "../parts/merge-weights.ts";
import {
  fromPeftConfig,
  PEFT_MODULE_KEYS,
  type PeftLayout,
  toPeftConfig,
  withoutZeros,
} from "../peft-format.ts";
import type { LinearModule } from "../targets.ts";
import { blockSizeOf, blocksKey } from "./rotation-blocks.ts";
import { rotateBlocks, rotateWeight, rotationOf, rotationValues } from "./rotations.ts";

const boftSchema = z.strictObject({
  name: z
    .literal("boft")
    .describe("Trained rotations in a butterfly's order, and scales (Liu et al. 2024)."),
  blockSize: count
    .optional()
    .describe("Inputs that are rotated together; it divides the inputs of every layer.")
    .meta(derived("4, where blocks is left out")),
  blocks: blocksKey,
  factors: count
    .default(1)
    .describe("Sparse rotations that are multiplied; each doubles how far a block reaches."),
  ...adaptedModuleKeys,
  bias: z.enum(["none", "all", "boft_only"]).default("none").describe(BIAS_MEANING),
});

export type BoftOptions = z.input<typeof boftSchema>;
type Settings = z.output<typeof boftSchema>;

const layout: PeftLayout = {
  type: "BOFT",
  keys: {
    ...PEFT_MODULE_KEYS,
    blockSize: "boft_block_size",
    blocks: "boft_block_num",
    factors: "boft_n_butterfly_factor",
    bias: "bias",
  },
  unused: {
    boft_dropout: 0,
    fan_in_fan_out: false,
    init_weights: true,
    layers_pattern: null,
  },
};

/** @throws TunesmithError (config) for targets or blocks that do not fit the model */
function bindBoft(given: BoftOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(boftSchema, given);
  const { blocks, factors } = options;
  const blockSize = blockSizeOf(options, 4);
  const adapted = adaptedModules(model, options);
  checkBlocks(options, blockSize, adapted.modules);
  return boundUpdate(
    "boft",
    adapted,
    (module) => rotatedAndScaled(module, factors, blockSize ?? module.inputSize / blocks!),
    {
      config: {
        ...toPeftConfig(layout, options, model, adapted.modules),
        boft_block_size: blockSize ?? 0,
        boft_block_num: blocks ?? 0,
      },
    },
  );
}

function rotatedAndScaled(
  { path, inputSize, outputSize, hasBias }: LinearModule,
  factors: number,
  size: number,
): ModuleUpdate {
  const blocks = inputSize / size;
  // The skew-symmetric part of each matrix counts.
  const matrices = zeroSpec(`${peftPath(path)}.boft_R`, [factors, blocks, size, size]);
  const scales = filledSpec(`${peftPath(path)}.boft_s`, [outputSize, 1], 1);
  return {
    parameters: [matrices, scales],
    apply(x, base, scope) {
      const rotations = butterfly(scope.parameter(matrices));
      const y = base(rotations.reduceRight(rotateButterfly, x));
      const factor = reshape(scope.parameter(scales), [1, outputSize]);
      if (!hasBias) return multiply(y, factor);
      const bias = scope.weight(`${path}.bias`);
      return add(multiply(subtract(y, bias), factor), bias);
    },
    mergeWeight(weight, values) {
      const numbers = values(matrices);
      for (let factor = 0; factor < factors; factor++) {
        const order = butterflyOrder(inputSize, size, factor);
        const permuted = weight.map((_, i) => weight[i - (i % inputSize) + order[i % inputSize]!]!);
        rotateWeight(permuted, inputSize, size, (block) => {
          const start = (factor * blocks + block) * size * size;
          return rotationValues(skewPart(numbers.subarray(start), size), size, "exact");
        });
        permuted.forEach((value, i) => {
          weight[i - (i % inputSize) + order[i % inputSize]!] = value;
        });
      }
      scaleRows(weight, inputSize, values(scales));
    },
  };
}

/** @throws TunesmithError (config) where blocks do not divide the inputs of a layer */
function checkBlocks(
  { blocks, factors }: Settings,
  blockSize: number | undefined,
  modules: readonly LinearModule[],
): void {
  const where = blocks === undefined ? "method.blockSize" : "method.blocks";
  const group = 2 ** (factors - 1);
  const faults = [];
  for (const inputSize of new Set(modules.map((module) => module.inputSize))) {
    const size = blockSize ?? inputSize / blocks!;
    const fits = Number.isInteger(size) && size > 1 && inputSize % (size * group) === 0;
    if (fits && (factors === 1 || size % 2 === 0)) continue;
    const { path } = modules.find((module) => module.inputSize === inputSize)!;
    faults.push({
      where: factors === 1 ? where : `${where}, method.factors`,
      rule:
        factors === 1
          ? "blocks of two or more inputs divide the inputs of a layer"
          : "blocks are of an even size, and 2^(factors - 1) of them divide the inputs of a layer",
      seen: `${blocks === undefined ? `blockSize ${blockSize}` : `${blocks} blocks`} and ${factors} factors for the ${inputSize} inputs of ${path}`,
      fix: `use a blockSize such as ${inputSize % 4 === 0 ? 4 : 2}, fewer factors, or leave the layer out with method.exclude`,
    });
  }
  if (faults.length > 0) throw new TunesmithError("config", faults);
}

/** The rotations [blocks, size, size] of each factor. */
function butterfly(matrices: Tensor): Tensor[] {
  const [factors, blocks, size] = matrices.shape as [number, number, number];
  const all = reshape(matrices, [factors * blocks, size, size]);
  const skew = multiply(subtract(all, transpose(all, [0, 2, 1])), constant(0.5));
  const rotations = rotationOf(skew, "exact");
  return Array.from({ length: factors }, (_, i) =>
    slice(rotations, 0, i * blocks, (i + 1) * blocks),
  );
}

/**
 * x times one factor. In runs of 2^factor blocks, a block takes one half from the first half of the run
 * and the other from the second: seen as [2, 2^factor, half a block], it is the transpose that lies in
 * blocks, and blocks come first so that each meets its own matrix.
 */
function rotateButterfly(x: Tensor, rotation: Tensor, factor: number): Tensor {
  if (factor === 0) return rotateBlocks(x, rotation);
  const [rows, width] = x.shape as [number, number];
  const [blocks, size] = rotation.shape as [number, number];
  const [runs, reach] = [width / (size * 2 ** factor), 2 ** factor];
  const inRuns = reshape(x, [rows, runs, 2, reach, size / 2]);
  const inBlocks = reshape(transpose(inRuns, [1, 3, 0, 2, 4]), [blocks, rows, size]);
  const rotated = reshape(matmul(inBlocks, rotation), [runs, reach, rows, 2, size / 2]);
  return reshape(transpose(rotated, [2, 0, 3, 1, 4]), x.shape);
}

/** Which input comes at each place when the blocks of a factor lie side by side. */
function butterflyOrder(inputSize: number, size: number, factor: number): number[] {
  if (factor === 0) return Array.from({ length: inputSize }, (_, i) => i);
  const [half, reach] = [size / 2, 2 ** factor];
  return Array.from({ length: inputSize }, (_, place) => {
    const run = Math.floor(place / (size * reach));
    const within = place % (size * reach);
    const [block, side] = [Math.floor(within / size), Math.floor((within % size) / half)];
    return (run * 2 * reach + side * reach + block) * half + (within % half);
  });
}

function skewPart(matrix: Float32Array, size: number): Float64Array {
  return Float64Array.from({ length: size * size }, (_, i) => {
    const [row, column] = [Math.floor(i / size), i % size];
    return (matrix[i]! - matrix[column * size + row]!) / 2;
  });
}

function fromBoftConfig(config: JsonObject, folder: string): BoftOptions {
  const blocks = withoutZeros(config, ["boft_block_size", "boft_block_num"]);
  return fromPeftConfig(boftSchema, layout, blocks, folder);
}

export const boft = {
  schema: boftSchema,
  learningRate: 1e-3,
  describe: ({ blocks, blockSize, factors = 1, targets }) =>
    `BOFT, ${factors} × ${blocks ? `${blocks} blocks` : `blocks of ${blockSize ?? 4}`}, on ${shownTargets(targets)}`,
  bind: bindBoft,
  peft: { type: layout.type, options: fromBoftConfig },
} satisfies MethodDefinition<BoftOptions>;
