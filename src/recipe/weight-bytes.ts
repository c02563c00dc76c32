// Bytes of a model's weights as the engine holds them, from headers alone.

import { bytesInBlocks } from "../engine/weights/block-weights.ts";
import type { Arithmetic } from "../engine/weights/integer-operands.ts";
import { blockBits, isForRunning, type ModelDtype } from "../engine/weights/model-dtype.ts";
import { quantizedSpecs } from "../engine/weights/quantized-weights.ts";
import { type Checkpoint, type QuantizationOptions, quantizedBytes } from "../hub/index.ts";
import type { BoundArchitecture, WeightSpec } from "../models/index.ts";
import { sizeOf } from "../tensor/index.ts";

/** How weights are kept, as a recipe or a caller says it. */
export interface Keeping {
  readonly dtype: ModelDtype;
  readonly quantization?: QuantizationOptions | undefined;
  readonly arithmetic?: Arithmetic;
}

export interface WeightBytes {
  readonly held: number;
  /** A second copy, in an order that products run in. */
  readonly reordered: number;
  /** Memory that narrow weights are widened into where a block reads them. */
  readonly widened: number;
}

/** NF4 as QLoRA has it. */
export const NF4 = { type: "nf4", doubleQuantization: true, blockSize: 64 } as const;

const FLOAT = 4;
/** What the weights of a quantised checkpoint are taken to have. */
const USUAL = { doubleQuantization: true, blockSize: 64 } as const;

/** Bytes of all weights: what `loadWeights` makes of the same arguments, and what running adds. */
export function weightBytes(
  { weights, outputName, dimensions }: BoundArchitecture,
  checkpoint: Checkpoint,
  { dtype, quantization, arithmetic = "float32" }: Keeping,
): WeightBytes {
  const keepsQuantized = !isForRunning(dtype) && (quantization !== undefined || dtype === "auto");
  const quantized = new Set(
    keepsQuantized ? quantizedSpecs({ checkpoint, specs: weights, quantization }) : [],
  );
  const total = { held: 0, reordered: 0, widened: 0 };
  for (const spec of weights) {
    const { name, shape, role, share = 1 } = spec;
    const size = sizeOf(shape);
    const held = bytesOf(spec);
    total.held += held;
    const isMultiplied = role === "linear" || name === outputName;
    // Codes are read in both orders; those of the output matrix lie beside its numbers.
    if (arithmetic === "int8") total.reordered += isMultiplied ? size : 0;
    // ONNX Runtime packs blocks for itself.
    else if (blockBits(dtype, spec)) total.reordered += isMultiplied ? held : 0;
    // Forward and backward apart; experts one after another, which their share of rows is more than.
    else if (held < size * FLOAT && role === "linear")
      total.widened += (2 * FLOAT * size * share) / dimensions.layers;
  }
  return total;

  function bytesOf(spec: WeightSpec): number {
    const { name, shape } = spec;
    const stored = checkpoint.tensors.get(name);
    if (quantized.has(spec)) {
      const own = stored?.quantization && { ...USUAL, type: stored.quantization };
      return quantizedBytes(shape, own ?? quantization!);
    }
    const bits = blockBits(dtype, spec);
    if (bits) return bytesInBlocks(shape, bits);
    const isHalf = dtype === "auto" && (stored?.dtype === "F16" || stored?.dtype === "BF16");
    return sizeOf(shape) * (isHalf ? 2 : FLOAT);
  }
}
