// Four-bit weights as GPTQ and AWQ make them: whole numbers from 0 to 15, with a scale and a zero point for
// a group of inputs. They are taken over from files code for code and never made here.

import { decodeHalf, type HalfKind } from "../half.ts";
import { widen } from "../widening/widening.ts";

/** A matrix [out, in]: (code - zero point) · scale. */
export interface Int4Tensor {
  readonly type: "int4";
  readonly shape: readonly number[];
  /** [out, in / 2]: two codes a byte, the first one in the lower half; inputs lie as `order` says. */
  readonly packed: Uint8Array;
  /** Inputs that share a scale; the last group of a row may have fewer. */
  readonly groupSize: number;
  /** Codes that are multiplied together: a part of a group, see `blockSizeOf`. */
  readonly blockSize: number;
  /** [out, groups], in the file's own type. */
  readonly scales: Float32Array | HalfScales;
  /** [out, groups] */
  readonly zeros: Uint8Array;
  /** For each place in a row the input that lies there; absent where that is its own number. */
  readonly order?: Int32Array;
}

interface HalfScales {
  readonly bits: Uint16Array;
  readonly kind: HalfKind;
}

/** What ONNX Runtime multiplies fast. */
const LARGEST_BLOCK = 256;
const SMALLEST_BLOCK = 16;

/**
 * The largest power of two that ONNX Runtime takes for a block and of which both groups and rows are a
 * multiple; undefined where there is none.
 */
export function blockSizeOf(inputs: number, groupSize: number): number | undefined {
  let size = LARGEST_BLOCK;
  while (inputs % size !== 0 || groupSize % size !== 0) size /= 2;
  return size < SMALLEST_BLOCK ? undefined : size;
}

/** Bytes of a matrix of that shape, in so many groups. */
export function int4Bytes(
  [outputs, inputs]: readonly [number, number],
  groups: number,
  scaleBytes: number,
  isOrdered: boolean,
): number {
  return outputs * (inputs / 2 + groups * (scaleBytes + 1)) + (isOrdered ? 4 * inputs : 0);
}

/** [out, blocks] for each of a tensor's blocks: its scale, and its zero point. */
export function blockScales({ shape, blockSize, groupSize, scales, zeros }: Int4Tensor): {
  readonly scales: Float32Array;
  readonly zeros: Uint8Array;
} {
  const wide = wideScales(scales);
  if (blockSize === groupSize) return { scales: wide, zeros };
  const [outputs, inputs] = shape as [number, number];
  const groups = zeros.length / outputs;
  const perRow = inputs / blockSize;
  const group = Int32Array.from({ length: outputs * perRow }, (_, block) => {
    const within = Math.floor(((block % perRow) * blockSize) / groupSize);
    return Math.floor(block / perRow) * groups + within;
  });
  const ofBlocks = new Float32Array(group.length);
  const zerosOfBlocks = new Uint8Array(group.length);
  group.forEach((from, block) => {
    ofBlocks[block] = wide[from]!;
    zerosOfBlocks[block] = zeros[from]!;
  });
  return { scales: ofBlocks, zeros: zerosOfBlocks };
}

function wideScales(scales: Int4Tensor["scales"]): Float32Array {
  if (scales instanceof Float32Array) return scales;
  const wide = new Float32Array(scales.bits.length);
  decodeHalf(scales.bits, scales.kind, wide);
  return wide;
}

/** See `dequantize`. */
export function dequantizeInt4(tensor: Int4Tensor, target: Float32Array): void {
  const { packed, blockSize, order } = tensor;
  const { scales, zeros } = blockScales(tensor);
  widen("int4", packed, target, {
    bytes: blockSize / 2,
    scales(first, into) {
      const count = Math.min(into.length / 2, scales.length - first);
      for (let i = 0; i < count; i++) {
        into[2 * i] = scales[first + i]!;
        into[2 * i + 1] = zeros[first + i]!;
      }
    },
  });
  if (!order) return;
  const row = new Float32Array(order.length);
  for (let start = 0; start < target.length; start += row.length) {
    row.set(target.subarray(start, start + row.length));
    for (let place = 0; place < row.length; place++) target[start + order[place]!] = row[place]!;
  }
}

/** Other numbers in the codes of a tensor's own groups, with its scales and zero points. */
export function recodeInt4(data: Float32Array, tensor: Int4Tensor): Int4Tensor {
  const { shape, blockSize, order } = tensor;
  const [outputs, inputs] = shape as [number, number];
  const { scales, zeros } = blockScales(tensor);
  const packed = new Uint8Array(tensor.packed.length);
  for (let at = 0; at < outputs * inputs; at++) {
    const place = at % inputs;
    const block = Math.floor(at / blockSize);
    const value = data[at - place + (order ? order[place]! : place)]!;
    const code = scales[block] === 0 ? 0 : Math.round(value / scales[block]!) + zeros[block]!;
    packed[at >> 1]! |= Math.max(0, Math.min(15, code)) << (4 * (at & 1));
  }
  return { ...tensor, packed };
}

/** Bytes that a tensor holds. */
export function bytesOfInt4({ packed, scales, zeros, order }: Int4Tensor): number {
  const { byteLength } = scales instanceof Float32Array ? scales : scales.bits;
  return packed.byteLength + byteLength + zeros.byteLength + (order?.byteLength ?? 0);
}
