// Frozen weights in 4 or 8 bits, whichever the type: what can be asked for, a quantised tensor, and
// the way there and back.

import { widen } from "../widening/widening.ts";
import { type NestedScales, nestScales, unnestScales } from "./double-quantization.ts";
import { type FourBitType, quantizeFourBit } from "./four-bit.ts";
import { quantizeInt8 } from "./int8.ts";

export const QUANTIZATION_TYPES = ["nf4", "fp4", "int8"] as const;
export type QuantizationType = (typeof QUANTIZATION_TYPES)[number];

/** How the linear weights of a model are kept in memory; everything else stays as it is. */
export interface QuantizationOptions {
  /** 4-bit NormalFloat, 4-bit float, or 8-bit rows. */
  readonly type: QuantizationType;
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

export type QuantizedTensor = FourBitTensor | Int8Tensor;

function isFourBit(type: QuantizationType): type is FourBitType {
  return type !== "int8";
}

/** @param shape of the matrix [out, in] that `data` is */
export function quantize(
  data: Float32Array,
  shape: readonly number[],
  options: QuantizationOptions,
): QuantizedTensor {
  const { type, doubleQuantization = true, blockSize = 64 } = options;
  if (!isFourBit(type)) return { type, shape, ...quantizeInt8(data, shape.at(-1)!) };
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

/** The options that a tensor was quantised with. */
export function optionsOf(tensor: QuantizedTensor): QuantizationOptions {
  if (tensor.type === "int8") return { type: tensor.type };
  const { type, scales, blockSize } = tensor;
  return { type, doubleQuantization: !(scales instanceof Float32Array), blockSize };
}

/** Bytes that a matrix of so many rows and columns takes when quantised. */
export function quantizedBytes(shape: readonly number[], options: QuantizationOptions): number {
  const size = shape.reduce((product, length) => product * length, 1);
  const { type, doubleQuantization = true, blockSize = 64 } = options;
  if (!isFourBit(type)) return size + 4 * (size / shape.at(-1)!);
  const blocks = Math.ceil(size / blockSize);
  const scales = doubleQuantization ? blocks + 4 * Math.ceil(blocks / 256) : 4 * blocks;
  return Math.ceil(size / 2) + scales;
}

/** Bytes that a quantised tensor holds. The map of nested scales is shared by all of them. */
export function bytesOf(tensor: QuantizedTensor): number {
  if (tensor.type === "int8") return tensor.values.byteLength + tensor.scales.byteLength;
  const { packed, scales } = tensor;
  if (scales instanceof Float32Array) return packed.byteLength + scales.byteLength;
  return packed.byteLength + scales.codes.byteLength + scales.scales.byteLength;
}
