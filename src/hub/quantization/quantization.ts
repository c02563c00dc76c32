// Frozen weights in 4 or 8 bits, whichever the type: what can be asked for, a quantised tensor, and
// the way there and back.

import { widen } from "../widening/widening.ts";
import { type NestedScales, nestScales, unnestScales } from "./double-quantization.ts";
import { type FourBitType, quantizeFourBit } from "./four-bit.ts";
import { bytesOfInt4, dequantizeInt4, type Int4Tensor, recodeInt4 } from "./int4.ts";
import { quantizeInt8 } from "./int8.ts";

/** What weights can be quantised to. */
export const QUANTIZATION_TYPES = ["nf4", "fp4", "int8"] as const;
/** What weights can be kept as: int4 is what GPTQ's and AWQ's files have. */
export const KEPT_TYPES = [...QUANTIZATION_TYPES, "int4"] as const;
export type QuantizationType = (typeof KEPT_TYPES)[number];

/** How the linear weights of a model are kept in memory; everything else stays as it is. */
export interface QuantizationOptions {
  /** 4-bit NormalFloat, 4-bit float, or 8-bit rows. */
  readonly type: (typeof QUANTIZATION_TYPES)[number];
  /** Whether the scales of 4-bit blocks are quantised too, to 8 bits. Default true. */
  readonly doubleQuantization?: boolean;
  /** Numbers of a 4-bit block, which share a scale. Default 64. */
  readonly blockSize?: number;
}

interface FourBitTensor {
  readonly type: FourBitType;
  readonly shape: readonly number[];
  /** Two codes a byte. */
  readonly packed: Uint8Array;
  readonly blockSize: number;
  readonly scales: Float32Array | NestedScales;
}

export interface Int8Tensor {
  readonly type: "int8";
  readonly shape: readonly number[];
  readonly values: Int8Array;
  /** Largest magnitude of each row. */
  readonly scales: Float32Array;
}

/** What is made here, as bitsandbytes makes it. */
export type MadeTensor = FourBitTensor | Int8Tensor;
export type QuantizedTensor = MadeTensor | Int4Tensor;

/** @param shape of the matrix [out, in] that `data` is */
export function quantize(
  data: Float32Array,
  shape: readonly number[],
  options: QuantizationOptions,
): MadeTensor {
  const { type, doubleQuantization = true, blockSize = 64 } = options;
  if (type === "int8") return { type, shape, ...quantizeInt8(data, shape.at(-1)!) };
  const { packed, scales } = quantizeFourBit(data, type, blockSize);
  return {
    type,
    shape,
    packed,
    blockSize,
    scales: doubleQuantization ? nestScales(scales) : scales,
  };
}

/** The numbers that a quantised tensor stands for, into the whole of `target`. */
export function dequantize(tensor: QuantizedTensor, target: Float32Array): void {
  if (tensor.type === "int4") {
    dequantizeInt4(tensor, target);
    return;
  }
  const { type, scales } = tensor;
  const readScales = (first: number, into: Float32Array) => {
    if (scales instanceof Float32Array) into.set(scales.subarray(first, first + into.length));
    else unnestScales(scales, first, into);
  };
  if (type === "int8") {
    const { buffer, byteOffset, byteLength } = tensor.values;
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    widen(type, bytes, target, { bytes: tensor.shape.at(-1)!, scales: readScales });
  } else widen(type, tensor.packed, target, { bytes: tensor.blockSize / 2, scales: readScales });
}

/** Other numbers quantised as a tensor is; those of int4 in its own groups. */
export function quantizeLike(data: Float32Array, tensor: QuantizedTensor): QuantizedTensor {
  if (tensor.type === "int4") return recodeInt4(data, tensor);
  if (tensor.type === "int8") return quantize(data, tensor.shape, { type: tensor.type });
  const { type, shape, scales, blockSize } = tensor;
  const doubleQuantization = !(scales instanceof Float32Array);
  return quantize(data, shape, { type, doubleQuantization, blockSize });
}

/** Bytes that a matrix of so many rows and columns takes when quantised. */
export function quantizedBytes(shape: readonly number[], options: QuantizationOptions): number {
  const size = shape.reduce((product, length) => product * length, 1);
  const { type, doubleQuantization = true, blockSize = 64 } = options;
  if (type === "int8") return size + 4 * (size / shape.at(-1)!);
  const blocks = Math.ceil(size / blockSize);
  const scales = doubleQuantization ? blocks + 4 * Math.ceil(blocks / 256) : 4 * blocks;
  return Math.ceil(size / 2) + scales;
}

/** Bytes that a quantised tensor holds. The map of nested scales is shared by all of them. */
export function bytesOf(tensor: QuantizedTensor): number {
  if (tensor.type === "int4") return bytesOfInt4(tensor);
  if (tensor.type === "int8") return tensor.values.byteLength + tensor.scales.byteLength;
  const { packed, scales } = tensor;
  if (scales instanceof Float32Array) return packed.byteLength + scales.byteLength;
  return packed.byteLength + scales.codes.byteLength + scales.scales.byteLength;
}
