// Turns float32 into ggml's blocks: the way back of gguf-dequantize.ts. Q8_0 and Q5_0 give ggml's own
// bytes; the K-quants choose scales as ggml does, with sums in double precision.

import { encodeHalf, float16ToNumber } from "../half.ts";
import { affineScale, symmetricScale } from "./gguf-scale-search.ts";
import { GGML_TYPES, type GgmlType } from "./gguf-types.ts";

/** Encodes the elements from `at` on into one block that starts at byte `to`, which is zero there. */
type BlockEncoder = (data: Float32Array, at: number, bytes: Uint8Array, to: number) => void;

const scratch = new Float32Array(1);
const scratchHalf = new Uint16Array(1);

/** Writes a number as float16 and returns what it became. */
function putHalf(bytes: Uint8Array, at: number, value: number): number {
  scratch[0] = value;
  encodeHalf(scratch, "F16", scratchHalf);
  const bits = scratchHalf[0]!;
  bytes[at] = bits & 255;
  bytes[at + 1] = bits >> 8;
  return float16ToNumber(bits);
}

const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));

/** The element of the largest magnitude, with its sign; of equals the first. */
function largestOf(data: Float32Array, at: number, count: number): number {
  let largest = 0;
  for (let i = at; i < at + count; i++)
    if (Math.abs(data[i]!) > Math.abs(largest)) largest = data[i]!;
  return largest;
}

const q8_0: BlockEncoder = (data, at, bytes, to) => {
  const scale = Math.fround(Math.abs(largestOf(data, at, 32)) / 127);
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  putHalf(bytes, to, scale);
  for (let j = 0; j < 32; j++) {
    const value = Math.fround(data[at + j]! * inverse);
    // C's roundf: halves away from zero.
    bytes[to + 2 + j] = Math.sign(value) * Math.floor(Math.abs(value) + 0.5);
  }
};

const q5_0: BlockEncoder = (data, at, bytes, to) => {
  const scale = Math.fround(largestOf(data, at, 32) / -16);
  const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
  putHalf(bytes, to, scale);
  const level = (j: number) => {
    const scaled = Math.fround(data[at + j]! * inverse);
    return Math.min(31, Math.trunc(Math.fround(scaled + 16.5)));
  };
  for (let j = 0; j < 16; j++) {
    const [low, high] = [level(j), level(j + 16)];
    bytes[to + 6 + j] = (low & 15) | ((high & 15) << 4);
    bytes[to + 2 + (j >> 3)]! |= (low >> 4) << (j & 7);
    bytes[to + 4 + (j >> 3)]! |= (high >> 4) << (j & 7);
  }
};

/** Eight groups of 32; scales and minimums in 6 bits each, of a float16 that all share. */
const q4_K: BlockEncoder = (data, at, bytes, to) => {
  const groups = Array.from({ length: 8 }, (_, j) => affineScale(data, at + 32 * j, 32, 15));
  const toSixBits = (values: readonly number[]) => {
    const largest = Math.max(...values);
    const inverse = largest > 0 ? 63 / largest : 0;
    return { top: largest / 63, codes: values.map((v) => clamp(Math.round(inverse * v), 0, 63)) };
  };
  const scales = toSixBits(groups.map(({ scale }) => scale));
  const minimums = toSixBits(groups.map(({ minimum }) => minimum));
  const superScale = putHalf(bytes, to, scales.top);
  const superMinimum = putHalf(bytes, to + 2, minimums.top);
  for (let j = 0; j < 8; j++) {
    const [scale, minimum] = [scales.codes[j]!, minimums.codes[j]!];
    if (j < 4) {
      bytes[to + 4 + j]! |= scale;
      bytes[to + 8 + j]! |= minimum;
    } else {
      bytes[to + 8 + j] = (scale & 15) | ((minimum & 15) << 4);
      bytes[to + j]! |= (scale >> 4) << 6;
      bytes[to + 4 + j]! |= (minimum >> 4) << 6;
    }
    const step = superScale * scale;
    if (step === 0) continue;
    const nibbles = to + 16 + (j >> 1) * 32;
    const shift = (j & 1) * 4;
    for (let l = 0; l < 32; l++) {
      const x = data[at + 32 * j + l]! + superMinimum * minimum;
      bytes[nibbles + l]! |= clamp(Math.round(x / step), 0, 15) << shift;
    }
  }
};

/** Sixteen groups of 16; scales in 8 bits with sign, of a float16 that all share. */
const q6_K: BlockEncoder = (data, at, bytes, to) => {
  const scales = Float64Array.from({ length: 16 }, (_, g) =>
    symmetricScale(data, at + 16 * g, 16, 32),
  );
  const largest = scales.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
  if (largest === 0) return;
  const superScale = putHalf(bytes, to + 208, largest / -128);
  for (let g = 0; g < 16; g++) {
    const code = Math.min(127, Math.round((-128 / largest) * scales[g]!));
    bytes[to + 192 + g] = code;
    const step = superScale * code;
    const half = g >> 3;
    const quarter = (g >> 1) & 3;
    for (let l = 0; l < 16; l++) {
      const x = data[at + 16 * g + l]!;
      const level = step === 0 ? 32 : clamp(Math.round(x / step), -32, 31) + 32;
      const within = 16 * (g & 1) + l;
      bytes[to + half * 64 + (quarter & 1) * 32 + within]! |= (level & 15) << ((quarter >> 1) * 4);
      bytes[to + 128 + half * 32 + within]! |= (level >> 4) << (quarter * 2);
    }
  }
};

function blocks(type: GgmlType, encode: BlockEncoder) {
  const { blockBytes, blockElements } = GGML_TYPES[type];
  return (data: Float32Array) => {
    const count = data.length / blockElements;
    const bytes = new Uint8Array(count * blockBytes);
    for (let block = 0; block < count; block++)
      encode(data, block * blockElements, bytes, block * blockBytes);
    return bytes;
  };
}

function halves(kind: "F16" | "BF16") {
  return (data: Float32Array) => {
    const target = new Uint16Array(data.length);
    encodeHalf(data, kind, target);
    return new Uint8Array(target.buffer);
  };
}

/** Encodes whole blocks; `data` is a multiple of the type's block. */
export const QUANTIZERS = {
  F32: (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  F16: halves("F16"),
  BF16: halves("BF16"),
  Q5_0: blocks("Q5_0", q5_0),
  Q8_0: blocks("Q8_0", q8_0),
  Q4_K: blocks("Q4_K", q4_K),
  Q6_K: blocks("Q6_K", q6_K),
} satisfies Partial<Record<GgmlType, (data: Float32Array) => Uint8Array>>;

/** The types that tensors can be written in. */
export type WrittenType = keyof typeof QUANTIZERS;
