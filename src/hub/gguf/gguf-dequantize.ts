// Turns ggml's quantised blocks back into float32. Each decoder reads whole blocks and follows the
// layout of ggml's block structures; the arithmetic gives the same float32 values as ggml's own.

import { decodeHalf, float16ToNumber } from "../half.ts";
import { GGML_TYPES, type GgmlType } from "./gguf-types.ts";

/** Decodes one block that starts at byte `at` into the elements from `to` on. */
type BlockDecoder = (bytes: Uint8Array, at: number, target: Float32Array, to: number) => void;

function float16At(bytes: Uint8Array, at: number): number {
  return float16ToNumber(bytes[at]! | (bytes[at + 1]! << 8));
}

function uint32At(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function signed(byte: number): number {
  return (byte << 24) >> 24;
}

const q4_0: BlockDecoder = (bytes, at, target, to) => {
  const scale = float16At(bytes, at);
  for (let j = 0; j < 16; j++) {
    const pair = bytes[at + 2 + j]!;
    target[to + j] = scale * ((pair & 15) - 8);
    target[to + j + 16] = scale * ((pair >> 4) - 8);
  }
};

const q4_1: BlockDecoder = (bytes, at, target, to) => {
  const scale = float16At(bytes, at);
  const minimum = float16At(bytes, at + 2);
  for (let j = 0; j < 16; j++) {
    const pair = bytes[at + 4 + j]!;
    target[to + j] = scale * (pair & 15) + minimum;
    target[to + j + 16] = scale * (pair >> 4) + minimum;
  }
};

const q5_0: BlockDecoder = (bytes, at, target, to) => {
  const scale = float16At(bytes, at);
  const fifthBits = uint32At(bytes, at + 2);
  for (let j = 0; j < 16; j++) {
    const pair = bytes[at + 6 + j]!;
    target[to + j] = scale * (((pair & 15) | (((fifthBits >>> j) & 1) << 4)) - 16);
    target[to + j + 16] = scale * (((pair >> 4) | (((fifthBits >>> (j + 16)) & 1) << 4)) - 16);
  }
};

const q5_1: BlockDecoder = (bytes, at, target, to) => {
  const scale = float16At(bytes, at);
  const minimum = float16At(bytes, at + 2);
  const fifthBits = uint32At(bytes, at + 4);
  for (let j = 0; j < 16; j++) {
    const pair = bytes[at + 8 + j]!;
    target[to + j] = scale * ((pair & 15) | (((fifthBits >>> j) & 1) << 4)) + minimum;
    target[to + j + 16] = scale * ((pair >> 4) | (((fifthBits >>> (j + 16)) & 1) << 4)) + minimum;
  }
};

const q8_0: BlockDecoder = (bytes, at, target, to) => {
  const scale = float16At(bytes, at);
  for (let j = 0; j < 32; j++) target[to + j] = scale * signed(bytes[at + 2 + j]!);
};

/** Eight 6-bit scales and eight 6-bit minimums share 12 bytes; `j` picks one pair. */
function scaleOf(bytes: Uint8Array, at: number, j: number): number {
  return j < 4 ? bytes[at + j]! & 63 : (bytes[at + j + 4]! & 15) | ((bytes[at + j - 4]! >> 6) << 4);
}

function minimumOf(bytes: Uint8Array, at: number, j: number): number {
  return j < 4 ? bytes[at + j + 4]! & 63 : (bytes[at + j + 4]! >> 4) | ((bytes[at + j]! >> 6) << 4);
}

const q4_K: BlockDecoder = (bytes, at, target, to) => {
  const superScale = float16At(bytes, at);
  const superMinimum = float16At(bytes, at + 2);
  for (let group = 0; group < 8; group++) {
    const scale = superScale * scaleOf(bytes, at + 4, group);
    const minimum = superMinimum * minimumOf(bytes, at + 4, group);
    const nibbles = at + 16 + (group >> 1) * 32;
    const shift = (group & 1) * 4;
    for (let l = 0; l < 32; l++)
      target[to + group * 32 + l] = scale * ((bytes[nibbles + l]! >> shift) & 15) - minimum;
  }
};

const q5_K: BlockDecoder = (bytes, at, target, to) => {
  const superScale = float16At(bytes, at);
  const superMinimum = float16At(bytes, at + 2);
  for (let group = 0; group < 8; group++) {
    const scale = superScale * scaleOf(bytes, at + 4, group);
    const minimum = superMinimum * minimumOf(bytes, at + 4, group);
    const nibbles = at + 48 + (group >> 1) * 32;
    const shift = (group & 1) * 4;
    for (let l = 0; l < 32; l++) {
      const fifthBit = (bytes[at + 16 + l]! >> group) & 1;
      const level = ((bytes[nibbles + l]! >> shift) & 15) | (fifthBit << 4);
      target[to + group * 32 + l] = scale * level - minimum;
    }
  }
};

const q6_K: BlockDecoder = (bytes, at, target, to) => {
  const superScale = float16At(bytes, at + 208);
  // Two halves of 128; in each, quarter `q` of 32 takes a nibble of `low` and two bits of `high`.
  for (let half = 0; half < 2; half++) {
    const low = at + half * 64;
    const high = at + 128 + half * 32;
    const scales = at + 192 + half * 8;
    for (let quarter = 0; quarter < 4; quarter++)
      for (let l = 0; l < 32; l++) {
        const nibble = (bytes[low + (quarter & 1) * 32 + l]! >> ((quarter >> 1) * 4)) & 15;
        const level = (nibble | (((bytes[high + l]! >> (quarter * 2)) & 3) << 4)) - 32;
        const scale = superScale * signed(bytes[scales + quarter * 2 + (l >> 4)]!);
        target[to + half * 128 + quarter * 32 + l] = scale * level;
      }
  }
};

function blocks(type: GgmlType, decode: BlockDecoder) {
  const { blockBytes, blockElements } = GGML_TYPES[type];
  return (bytes: Uint8Array, target: Float32Array) => {
    const count = bytes.length / blockBytes;
    for (let block = 0; block < count; block++)
      decode(bytes, block * blockBytes, target, block * blockElements);
  };
}

/** Whatever its offset, `bytes` as 16-bit words. */
function words(bytes: Uint8Array): Uint16Array {
  return bytes.byteOffset % 2 === 0
    ? new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)
    : new Uint16Array(bytes.slice().buffer);
}

/**
 * Decodes whole blocks of a ggml type: `bytes` fills the first elements of `target`, as many as the
 * blocks hold.
 */
export const DEQUANTIZERS = {
  F32: (bytes, target) =>
    new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(bytes),
  F16: (bytes, target) => decodeHalf(words(bytes), "F16", target),
  BF16: (bytes, target) => decodeHalf(words(bytes), "BF16", target),
  Q4_0: blocks("Q4_0", q4_0),
  Q4_1: blocks("Q4_1", q4_1),
  Q5_0: blocks("Q5_0", q5_0),
  Q5_1: blocks("Q5_1", q5_1),
  Q8_0: blocks("Q8_0", q8_0),
  Q4_K: blocks("Q4_K", q4_K),
  Q5_K: blocks("Q5_K", q5_K),
  Q6_K: blocks("Q6_K", q6_K),
} satisfies Record<GgmlType, (bytes: Uint8Array, target: Float32Array) => void>;
