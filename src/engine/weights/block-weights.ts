// Weights of 4 or 8 bits an element for running a model: every row in blocks of consecutive elements
// with a scale each, and with 4 bits an offset, as in GGUF's Q4_1. The layout is that of ONNX Runtime's
// MatMulNBits; what that has in place of offsets is a whole code for 0, which a file in Q4_1 does not fit
// (docs/decisions/0008-generation.md).

import { blockScales, type Int4Tensor } from "../../hub/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { bytes, floats, integers } from "../../runtime/values.ts";
import type { BlockWeight, Shape } from "../../tensor/index.ts";

export type BlockBits = 4 | 8;

/** Elements that share a scale. */
const BLOCK_SIZE = { 4: 32, 8: 64 } as const satisfies Record<BlockBits, number>;

/** The code of 4 bits that stands for a block's offset. */
const HALF_RANGE = 8;

/** A matrix [rows, columns]; see `BlockWeight` for its parts. */
export interface BlockMatrix {
  readonly shape: Shape;
  readonly bits: BlockBits;
  readonly blockSize: number;
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly offsets?: Float32Array;
}

/** The same as graph inputs are fed. */
export interface BlockOperands extends Pick<BlockMatrix, "bits" | "blockSize"> {
  readonly parts: { readonly [Part in keyof BlockWeight]: Value };
}

/** Bytes of a matrix in blocks, from its shape. */
export function bytesInBlocks([rows = 1, columns = 1]: Shape, bits: BlockBits): number {
  const blocks = rows * Math.ceil(columns / BLOCK_SIZE[bits]);
  return blocks * ((BLOCK_SIZE[bits] * bits) / 8 + (bits === 4 ? 8 : 4));
}

/** @param data [rows, columns], row by row */
export function toBlocks(data: Float32Array, shape: Shape, bits: BlockBits): BlockMatrix {
  const [rows, columns] = shape as [number, number];
  const blockSize = BLOCK_SIZE[bits];
  const perRow = Math.ceil(columns / blockSize);
  const blockBytes = (blockSize * bits) / 8;
  const codes = new Uint8Array(rows * perRow * blockBytes);
  const scales = new Float32Array(rows * perRow);
  const offsets = bits === 4 ? new Float32Array(rows * perRow) : undefined;
  for (let row = 0; row < rows; row++)
    for (let block = 0; block < perRow; block++) {
      const index = row * perRow + block;
      const start = row * columns + block * blockSize;
      const end = Math.min(start + blockSize, (row + 1) * columns);
      const at = index * blockBytes;
      if (!offsets) {
        scales[index] = encode8(data, start, end, codes, at);
        continue;
      }
      const { scale, offset } = encode4(data, start, end, codes, at);
      scales[index] = scale;
      offsets[index] = offset;
    }
  return { shape, bits, blockSize, codes, scales, ...(offsets && { offsets }) };
}

// Of a positive number, cutting off after adding a half is rounding, and faster. Blocks are told by
// where they start and end: a view of each would cost more than its encoding.

/** Around 128, by the largest magnitude. @returns the scale */
function encode8(
  data: Float32Array,
  start: number,
  end: number,
  codes: Uint8Array,
  at: number,
): number {
  let largest = 0;
  for (let i = start; i < end; i++) {
    const magnitude = Math.abs(data[i]!);
    if (magnitude > largest) largest = magnitude;
  }
  const scale = Math.fround(largest / 127);
  const factor = scale === 0 ? 0 : 1 / scale;
  const shift = at - start;
  for (let i = start; i < end; i++) codes[shift + i] = (data[i]! * factor + 128.5) | 0;
  codes.fill(128, shift + end, at + BLOCK_SIZE[8]);
  return scale;
}

/** From the smallest to the largest value. */
function encode4(
  data: Float32Array,
  start: number,
  end: number,
  codes: Uint8Array,
  at: number,
): { scale: number; offset: number } {
  let low = data[start]!;
  let high = low;
  for (let i = start; i < end; i++) {
    const value = data[i]!;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const scale = Math.fround((high - low) / 15);
  const factor = scale === 0 ? 0 : 1 / scale;
  const shift = 0.5 - low * factor;
  const half = BLOCK_SIZE[4] / 2;
  for (let pair = 0; pair < half; pair++) {
    const i = start + 2 * pair;
    const first = i < end ? (data[i]! * factor + shift) | 0 : HALF_RANGE;
    const second = i + 1 < end ? (data[i + 1]! * factor + shift) | 0 : HALF_RANGE;
    codes[at + pair] = Math.min(first, 15) | (Math.min(second, 15) << 4);
  }
  return { scale, offset: Math.fround(low + HALF_RANGE * scale) };
}

/** Decodes row `row` into `target` [columns]. */
export function decodeBlockRow(matrix: BlockMatrix, row: number, target: Float32Array): void {
  const { bits, blockSize, codes, scales, offsets } = matrix;
  const columns = matrix.shape[1]!;
  const perRow = Math.ceil(columns / blockSize);
  const rowCodes = codes.subarray((row * perRow * blockSize * bits) / 8);
  for (let i = 0; i < columns; i++) {
    const block = Math.floor(i / blockSize);
    const scale = scales[row * perRow + block]!;
    if (bits === 8) target[i] = (rowCodes[i]! - 128) * scale;
    else {
      const code = (rowCodes[i >> 1]! >> (4 * (i & 1))) & 15;
      target[i] = (code - HALF_RANGE) * scale + offsets![row * perRow + block]!;
    }
  }
}

/** Decodes the whole matrix into `target`. */
export function decodeBlocks(matrix: BlockMatrix, target: Float32Array): void {
  const [rows, columns] = matrix.shape as [number, number];
  for (let row = 0; row < rows; row++)
    decodeBlockRow(matrix, row, target.subarray(row * columns, (row + 1) * columns));
}

export function blockOperands(matrix: BlockMatrix): BlockOperands {
  const { bits, blockSize, codes, scales, offsets, shape } = matrix;
  const [rows, columns] = shape as [number, number];
  const perRow = Math.ceil(columns / blockSize);
  return {
    bits,
    blockSize,
    parts: {
      codes: bytes(codes, [rows, perRow, (blockSize * bits) / 8]),
      scales: floats(scales, [rows * perRow]),
      ...(offsets && { offsets: floats(offsets, [rows, perRow]) }),
    },
  };
}

/** A weight that GPTQ or AWQ made: its own codes, scales and zero points. */
export function int4Operands(tensor: Int4Tensor): BlockOperands {
  const { packed, blockSize, order } = tensor;
  const [rows, columns] = tensor.shape as [number, number];
  const perRow = columns / blockSize;
  const { scales, zeros } = blockScales(tensor);
  return {
    bits: 4,
    blockSize,
    parts: {
      codes: bytes(packed, [rows, perRow, blockSize / 2]),
      scales: floats(scales, [rows * perRow]),
      ...(zeros.some((zero) => zero !== HALF_RANGE) && { zeros: packZeros(zeros, rows, perRow) }),
      ...(order && { order: integers(BigInt64Array.from(order, BigInt), [columns]) }),
    },
  };
}

/** Two a byte, the lower half first; each row has bytes of its own. */
function packZeros(zeros: Uint8Array, rows: number, perRow: number): Value {
  const width = Math.ceil(perRow / 2);
  const packed = new Uint8Array(rows * width);
  for (let row = 0; row < rows; row++)
    for (let block = 0; block < perRow; block++)
      packed[row * width + (block >> 1)]! |= zeros[row * perRow + block]! << (4 * (block & 1));
  return bytes(packed, [rows, width]);
}

export const blockBytes = ({ codes, scales, offsets }: BlockMatrix): number =>
  codes.byteLength + scales.byteLength + (offsets?.byteLength ?? 0);
