// Weights of 4 or 8 bits an element for running a model: every row in blocks of consecutive elements
// with a scale each, and with 4 bits a zero of its own, so that a block's range is used in full.
// The layout is that of ONNX Runtime's MatMulNBits.

import type { Value } from "../../runtime/kernel.ts";
import { bytes, floats } from "../../runtime/values.ts";
import type { BlockWeight, Shape } from "../../tensor/index.ts";

export type BlockBits = 4 | 8;

/** Elements that share a scale. */
const BLOCK_SIZE = { 4: 32, 8: 64 } as const satisfies Record<BlockBits, number>;

/** A matrix [rows, columns]; see `BlockWeight` for its parts. */
export interface BlockMatrix {
  readonly shape: Shape;
  readonly bits: BlockBits;
  readonly blockSize: number;
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly zeros?: Uint8Array;
}

/** The same as graph inputs are fed. */
export interface BlockOperands extends Pick<BlockMatrix, "bits" | "blockSize"> {
  readonly parts: { readonly [Part in keyof BlockWeight]: Value };
}

/** @param data [rows, columns], row by row */
export function toBlocks(data: Float32Array, shape: Shape, bits: BlockBits): BlockMatrix {
  const [rows, columns] = shape as [number, number];
  const blockSize = BLOCK_SIZE[bits];
  const perRow = Math.ceil(columns / blockSize);
  const blockBytes = (blockSize * bits) / 8;
  const codes = new Uint8Array(rows * perRow * blockBytes);
  const scales = new Float32Array(rows * perRow);
  const zeroBytes = Math.ceil(perRow / 2);
  const zeros = bits === 4 ? new Uint8Array(rows * zeroBytes) : undefined;
  for (let row = 0; row < rows; row++)
    for (let block = 0; block < perRow; block++) {
      const index = row * perRow + block;
      const start = row * columns + block * blockSize;
      const values = data.subarray(start, Math.min(start + blockSize, (row + 1) * columns));
      const target = codes.subarray(index * blockBytes, (index + 1) * blockBytes);
      if (!zeros) {
        scales[index] = encode8(values, target);
        continue;
      }
      const { scale, zero } = encode4(values, target);
      scales[index] = scale;
      zeros[row * zeroBytes + (block >> 1)]! |= zero << (4 * (block & 1));
    }
  return { shape, bits, blockSize, codes, scales, ...(zeros && { zeros }) };
}

/** Around 128, by the largest magnitude. */
function encode8(values: Float32Array, target: Uint8Array): number {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  const scale = Math.fround(largest / 127);
  for (let i = 0; i < values.length; i++)
    target[i] = scale === 0 ? 128 : Math.round(values[i]! / scale) + 128;
  target.fill(128, values.length);
  return scale;
}

/** From the smallest to the largest value, where 0 is one of the codes. */
function encode4(values: Float32Array, target: Uint8Array): { scale: number; zero: number } {
  let [low, high] = [0, 0];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const scale = Math.fround((high - low) / 15);
  const zero = scale === 0 ? 8 : Math.min(15, Math.max(0, Math.round(-low / scale)));
  const half = target.length;
  const code = (i: number) => {
    const value = values[i] ?? 0;
    const nearest = scale === 0 ? zero : Math.round(value / scale) + zero;
    return Math.min(15, Math.max(0, nearest));
  };
  for (let i = 0; i < half; i++) target[i] = code(2 * i) | (code(2 * i + 1) << 4);
  return { scale, zero };
}

/** Decodes row `row` into `target` [columns]. */
export function decodeBlockRow(matrix: BlockMatrix, row: number, target: Float32Array): void {
  const { bits, blockSize, codes, scales, zeros } = matrix;
  const columns = matrix.shape[1]!;
  const perRow = Math.ceil(columns / blockSize);
  const zeroBytes = Math.ceil(perRow / 2);
  const rowCodes = codes.subarray((row * perRow * blockSize * bits) / 8);
  for (let i = 0; i < columns; i++) {
    const block = Math.floor(i / blockSize);
    const scale = scales[row * perRow + block]!;
    if (bits === 8) target[i] = (rowCodes[i]! - 128) * scale;
    else {
      const zero = (zeros![row * zeroBytes + (block >> 1)]! >> (4 * (block & 1))) & 15;
      target[i] = (((rowCodes[i >> 1]! >> (4 * (i & 1))) & 15) - zero) * scale;
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
  const { bits, blockSize, codes, scales, zeros, shape } = matrix;
  const [rows, columns] = shape as [number, number];
  const perRow = Math.ceil(columns / blockSize);
  return {
    bits,
    blockSize,
    parts: {
      codes: bytes(codes, [rows, perRow, (blockSize * bits) / 8]),
      scales: floats(scales, [rows * perRow]),
      ...(zeros && { zeros: bytes(zeros, [zeros.length]) }),
    },
  };
}

export const blockBytes = ({ codes, scales, zeros }: BlockMatrix): number =>
  codes.byteLength + scales.byteLength + (zeros?.byteLength ?? 0);
