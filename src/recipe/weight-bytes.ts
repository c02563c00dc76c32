// Bytes of a model's weights as the engine holds them, from headers alone.

import { bytesInBlocks } from "../engine/weights/block-weights.ts";
import type { Arithmetic } from "../engine/weights/integer-operands.ts";
import { blockBits, isForRunning, type ModelDtype } from "../engine/weights/model-dtype.ts";
import { type KeptQuantization, quantizedSpecs } from "../engine/weights/quantized-weights.ts";
import { type Checkpoint, quantizedBytes } from "../hub/index.ts";
import type { BoundArchitecture, WeightSpec } from "../models/index.ts";
import { sizeOf } from "../tensor/index.ts";

/** How weights are kept, as a recipe or a caller says it. */
export interface Keeping {
  readonly dtype: ModelDtype;
  readonly quantization?: KeptQuantization | undefined;
  readonly arithmetic?: Arithmetic;
  /** Whether it only answers: what is in blocks of whole numbers is multiplied so, and not widened. */
  readonly isRun?: boolean;
}

export interface WeightBytes {
  readonly held: number;
  /** A second copy, in an order that products run in. */
  readonly reordered: number;
  /** Memory that narrow weights are widened into where a block reads them, or are rounded from. */
  readonly widened: number;
}

/** NF4 as QLoRA has it. */
export const NF4 = { type: "nf4", doubleQuantization: true, blockSize: 64 } as const;

const FLOAT = 4;

/** Bytes of all weights: what `loadWeights` makes of the same arguments, and what running adds. */
export function weightBytes(
  { weights, outputName, dimensions }: BoundArchitecture,
  checkpoint: Checkpoint,
  { dtype, quantization, arithmetic = "float32", isRun = isForRunning(dtype) }: Keeping,
): WeightBytes {
  const quantized = new Set(quantizedSpecs({ checkpoint, specs: weights, dtype, quantization }));
  const isInBlocks = (spec: WeightSpec) =>
    quantized.has(spec)
      ? isRun && checkpoint.tensors.get(spec.name)?.quantization === "int4"
      : blockBits(dtype, spec) !== undefined;
  const total = { held: 0, reordered: 0, widened: 0 };
  for (const spec of weights) {
    const { name, shape, role, share = 1 } = spec;
    const size = sizeOf(shape);
    const held = bytesOf(spec);
    total.held += held;
    const isMultiplied = role === "linear" || name === outputName;
    // Codes are read in both orders; those of the output matrix lie beside its numbers.
    if (arithmetic === "int8") {
      total.reordered += isMultiplied ? size : 0;
      // One matrix after another is rounded, from a copy.
      if (isMultiplied) total.widened = Math.max(total.widened, size * FLOAT);
    }
    // ONNX Runtime packs blocks for itself.
    else if (isInBlocks(spec)) total.reordered += isMultiplied ? held : 0;
    // Forward and backward apart; experts one after another, which their share of rows is more than.
    else if (held < size * FLOAT && role === "linear")
      total.widened += (2 * FLOAT * size * share) / dimensions.layers;
  }
  return total;

  function bytesOf(spec: WeightSpec): number {
    const { name, shape } = spec;
    const stored = checkpoint.tensors.get(name);
    if (quantized.has(spec)) {
      if (stored?.quantizedBytes !== undefined) return stored.quantizedBytes;
      if (quantization && quantization.type !== "int4") return quantizedBytes(shape, quantization);
    }
    const bits = blockBits(dtype, spec);
    if (bits) return bytesInBlocks(shape, bits);
    const isHalf = dtype === "auto" && (stored?.dtype === "F16" || stored?.dtype === "BF16");
    return sizeOf(shape) * (isHalf ? 2 : FLOAT);
  }
}
