// OFT (Qiu et al. 2023): each layer's input is rotated, block by block, before the frozen weight:
// y = W Rᵀ x + b with R orthogonal. Names and files are those of PEFT's `OFTConfig`.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import {
  constantTensor,
  gatherRows,
  multiply,
  reshape,
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
import { zeroSpec } from "../parts/initial-values.ts";
import {
  fromPeftConfig,
  PEFT_MODULE_KEYS,
  type PeftLayout,
  toPeftConfig,
  withoutZeros,
} from "../peft-format.ts";
import type { LinearModule } from "../targets.ts";
import { blockSizeOf, blocksKey } from "./rotation-blocks.ts";
import {
  type RotationForm,
  rotateBlocks,
  rotateWeight,
  rotationOf,
  rotationValues,
} from "./rotations.ts";

const oftSchema = z.strictObject({
  name: z.literal("oft").describe("Trained rotations of each layer's input (Qiu et al. 2023)."),
  blockSize: count
    .optional()
    .describe(
      "Inputs that are rotated together; where it does not divide them, the nearest size that does.",
    )
    .meta(derived("32, where blocks is left out")),
  blocks: blocksKey,
  ...adaptedModuleKeys,
  blockShare: z
    .boolean()
    .default(false)
    .describe("Whether all blocks of a layer share one rotation."),
  cayleyNeumann: z
    .boolean()
    .default(true)
    .describe("Rotations by a series instead of by the exact transform, which inverts matrices."),
  neumannTerms: z
    .int()
    .min(2)
    .default(5)
    .describe("Terms of the series: more is nearer to a rotation."),
  bias: z.enum(["none", "all", "oft_only"]).default("none").describe(BIAS_MEANING),
});

export type OftOptions = z.input<typeof oftSchema>;
type Settings = z.output<typeof oftSchema>;

const layout: PeftLayout = {
  type: "OFT",
  keys: {
    ...PEFT_MODULE_KEYS,
    blockSize: "oft_block_size",
    blocks: "r",
    blockShare: "block_share",
    cayleyNeumann: "use_cayley_neumann",
    neumannTerms: "num_cayley_neumann_terms",
    bias: "bias",
  },
  unused: {
    eps: 6e-5,
    fan_in_fan_out: false,
    init_weights: true,
    layers_pattern: null,
    module_dropout: 0,
  },
  only: { coft: false },
};

/** @throws TunesmithError (config) for targets that the model does not have */
function bindOft(given: OftOptions, model: ModelDescription): BoundMethod {
  const complete = completeOptions(oftSchema, given);
  const { blocks } = complete;
  const blockSize = blockSizeOf(complete, 32);
  const options = { ...complete, blockSize };
  const adapted = adaptedModules(model, options);
  return boundUpdate("oft", adapted, (module) => rotatedInput(options, module), {
    config: {
      ...toPeftConfig(layout, options, model, adapted.modules),
      r: blocks ?? 0,
      oft_block_size: blocks ? 0 : blockSize!,
    },
  });
}

function rotatedInput(options: Settings, { path, inputSize }: LinearModule): ModuleUpdate {
  const { blocks, blockSize, blockShare } = options;
  const form: RotationForm = options.cayleyNeumann ? { terms: options.neumannTerms } : "exact";
  const size = blocks
    ? inputSize / nearestDivisor(inputSize, blocks)
    : nearestDivisor(inputSize, blockSize!);
  if (size === 1) throw nothingToRotate(path, inputSize, options);
  // Upper triangles of Q row by row, [blocks or 1, length].
  const length = (size * (size - 1)) / 2;
  const shape = [blockShare ? 1 : inputSize / size, length];
  const triangles = zeroSpec(`${peftPath(path)}.oft_R.weight`, shape);
  return {
    parameters: [triangles],
    apply(x, base, scope) {
      const skew = skewSymmetric(scope.parameter(triangles), size);
      return base(rotateBlocks(x, rotationOf(skew, form)));
    },
    mergeWeight(weight, values) {
      const numbers = values(triangles);
      rotateWeight(weight, inputSize, size, (block) => {
        const start = blockShare ? 0 : block * length;
        const skew = skewValues(numbers.subarray(start, start + length), size);
        return rotationValues(skew, size, form);
      });
    },
  };
}

function nothingToRotate(path: string, inputSize: number, { blocks, blockSize }: Settings) {
  return new TunesmithError("config", {
    where: blocks ? "method.blocks" : "method.blockSize",
    rule: "a block has at least two inputs, and blocks divide the inputs of a layer",
    seen: `${blocks ?? blockSize} for the ${inputSize} inputs of ${path}`,
    fix: `choose one near a divisor of ${inputSize}, or leave the layer out with method.exclude`,
  });
}

/** The divisor of `size` nearest to `wanted`, the smaller one of two; PEFT adjusts in the same way. */
function nearestDivisor(size: number, wanted: number): number {
  if (wanted >= size) return size;
  for (let distance = 0; ; distance++) {
    if (size % (wanted - distance) === 0) return wanted - distance;
    if (size % (wanted + distance) === 0) return wanted + distance;
  }
}

/** Position in the upper triangle, row by row and without the diagonal, of row < column. */
const triangleIndex = (row: number, column: number, size: number) =>
  row * size - (row * (row + 1)) / 2 + column - row - 1;

/** Skew-symmetric [count, size, size] with upper triangles [count, size (size - 1) / 2]. */
function skewSymmetric(triangles: Tensor, size: number): Tensor {
  const count = triangles.shape[0]!;
  const indices = new BigInt64Array(size * size);
  const signs = new Float32Array(size * size);
  for (let row = 0; row < size; row++)
    for (let column = 0; column < size; column++) {
      if (row === column) continue; // any index will do: its sign is zero
      const at = row * size + column;
      const [low, high] = row < column ? [row, column] : [column, row];
      indices[at] = BigInt(triangleIndex(low, high, size));
      signs[at] = row < column ? 1 : -1;
    }
  const elements = gatherRows(transpose(triangles, [1, 0]), constantTensor(indices, [size * size]));
  const signed = multiply(elements, constantTensor(signs, [size * size, 1]));
  return reshape(transpose(signed, [1, 0]), [count, size, size]);
}

function skewValues(triangle: Float32Array, size: number): Float64Array {
  const skew = new Float64Array(size * size);
  for (let row = 0; row < size; row++)
    for (let column = row + 1; column < size; column++) {
      const value = triangle[triangleIndex(row, column, size)]!;
      skew[row * size + column] = value;
      skew[column * size + row] = -value;
    }
  return skew;
}

/** @throws TunesmithError (checkpoint) for files of releases that computed something else */
function fromOftConfig(config: JsonObject, folder: string): OftOptions {
  const [major = 0, minor = 0] = String(config.peft_version ?? "0")
    .split(".")
    .map((part) => Number.parseInt(part, 10));
  const older = config.oft_block_size === undefined ? "0.14" : "0.18";
  const isSeries = config.use_cayley_neumann !== false;
  if (older === "0.14" || (isSeries && major === 0 && minor < 18))
    throw new TunesmithError("checkpoint", {
      where: `${folder}/adapter_config.json`,
      rule: "an OFT adapter is of a PEFT release that computes what today's does",
      seen: `peft_version ${JSON.stringify(config.peft_version ?? null)}, before ${older}`,
      fix: "merge the adapter into its base with that release, or train it again",
    });
  const blocks = withoutZeros(config, ["r", "oft_block_size"]);
  return fromPeftConfig(oftSchema, layout, blocks, folder);
}

export const oft = {
  schema: oftSchema,
  learningRate: 1e-3,
  describe: ({ blocks, blockSize, targets }) =>
    `OFT, ${blocks ? `${blocks} blocks` : `blocks of ${blockSize ?? 32}`}, on ${shownTargets(targets)}`,
  idle: [
    {
      option: "neumannTerms",
      isIdle: ({ cayleyNeumann }) => cayleyNeumann === false,
      needs: "cayleyNeumann: true",
    },
  ],
  bind: bindOft,
  peft: { type: layout.type, options: fromOftConfig },
} satisfies MethodDefinition<OftOptions>;
