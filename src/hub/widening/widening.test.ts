// Every kind of stored number against plain arithmetic, one number after another, bit for bit.

import { describe, expect, it } from "vitest";
import { createRandom } from "../../runtime/random.ts";
import { BLOCK_SIZES, FOUR_BIT_CODES } from "../quantization/four-bit.ts";
import type { StoredKind } from "./loops.ts";
import { createWideArray, widen } from "./widening.ts";

/** A number of a source, with the scale of its block and, where that has one, the zero point. */
type Plain = (source: Uint8Array, index: number, scale: number, zero: number) => number;

const fourBit =
  (values: Float32Array): Plain =>
  (source, index, scale) => {
    const byte = source[index >> 1]!;
    return values[index % 2 === 0 ? byte >> 4 : byte & 15]! * scale;
  };

const half =
  (exponentBits: number): Plain =>
  (source, index) => {
    const fractionBits = 15 - exponentBits;
    const bits = source[2 * index]! | (source[2 * index + 1]! << 8);
    const exponent = (bits >> fractionBits) & (2 ** exponentBits - 1);
    const fraction = (bits % 2 ** fractionBits) / 2 ** fractionBits;
    const sign = bits >> 15 ? -1 : 1;
    const bias = 2 ** (exponentBits - 1) - 1;
    if (exponent === 2 * bias + 1) return fraction === 0 ? sign / 0 : Number.NaN;
    return exponent === 0
      ? sign * fraction * 2 ** (1 - bias)
      : sign * (1 + fraction) * 2 ** (exponent - bias);
  };

const PLAIN: Record<StoredKind, Plain> = {
  nf4: fourBit(FOUR_BIT_CODES.nf4),
  fp4: fourBit(FOUR_BIT_CODES.fp4),
  int4: (source, index, scale, zero) =>
    Math.fround((((source[index >> 1]! >> (4 * (index & 1))) & 15) - zero) * scale),
  int8: (source, index, scale) =>
    Math.fround(((source[index]! << 24) >> 24) * scale) * Math.fround(0.007874015718698502),
  F16: half(5),
  BF16: half(8),
};

const PATTERNS = Uint8Array.from({ length: 2 ** 17 }, (_, i) => (i % 2 === 0 ? i >> 1 : i >> 9));
const GUARD = 77;

/** Widens so many numbers from an odd address into the middle of an array, and compares. */
function check(kind: StoredKind, length: number, blockNumbers?: number): void {
  const perByte = kind === "int8" ? 1 : kind.endsWith("4") ? 2 : 0.5;
  const bytes = Math.ceil(length / perByte);
  const shifted = new Uint8Array(bytes + 1);
  const source = shifted.subarray(1);
  for (let i = 0; i < bytes; i++) source[i] = PATTERNS[i % PATTERNS.length]!;
  const random = createRandom(length);
  const blockCount = Math.ceil(length / (blockNumbers ?? length));
  const perBlock = kind === "int4" ? 2 : 1;
  const scales = Float32Array.from({ length: perBlock * blockCount }, (_, i) =>
    i % perBlock === 0 ? random.uniform() : random.below(16),
  );
  const around = new Float32Array(length + 2).fill(GUARD);
  const blocks = blockNumbers && {
    bytes: blockNumbers / perByte,
    scales: (first: number, into: Float32Array) =>
      into.set(scales.subarray(perBlock * first, perBlock * first + into.length)),
  };
  widen(kind, source, around.subarray(1, -1), blocks || undefined);
  const wide = createWideArray(length);
  widen(kind, source, wide, blocks || undefined);
  expect(wide.every((value, i) => Object.is(value, around[i + 1]))).toBe(true);
  const expected = new Float32Array(length + 2).fill(GUARD);
  for (let i = 0; i < length; i++) {
    const block = perBlock * Math.floor(i / (blockNumbers ?? length));
    expected[i + 1] = PLAIN[kind](source, i, scales[block]!, scales[block + 1]!);
  }
  const wrong = expected.findIndex((value, i) => !Object.is(value, around[i]));
  if (wrong >= 0)
    expect.unreachable(
      `${kind}, ${length} numbers: ${around[wrong]} at ${wrong - 1}, not ${expected[wrong]}`,
    );
}

const LENGTHS = [1, 2, 31, 65, 4095, 4097, 2 ** 17 + 33];

describe.each(["nf4", "fp4"] as const)("%s", (kind) => {
  it.each(BLOCK_SIZES)("has the number of every code in blocks of %i, wherever it ends", (size) => {
    for (const length of LENGTHS) check(kind, length, size);
  });
});

describe("int4", () => {
  it.each([16, 64, 128, 256])("has every number in blocks of %i", (size) => {
    for (const blocks of [1, 2, 33, 600]) check("int4", blocks * size, size);
  });
});

describe("int8", () => {
  it.each([1, 7, 16, 17, 576, 4097])("has every number in rows of %i", (width) => {
    for (const rows of [1, 2, 33]) check("int8", rows * width, width);
  });

  it("takes rows longer than what is widened at once", () => {
    check("int8", 3 * 70_001, 70_001);
    check("int8", 500, 100);
  });
});

describe.each(["F16", "BF16"] as const)("%s", (kind) => {
  it("has the number of every bit pattern, wherever it ends", () => {
    for (const length of [...LENGTHS, 2 ** 16]) check(kind, length);
  });
});

it("leaves an empty array alone", () => {
  widen("F16", new Uint8Array(0), new Float32Array(0));
});
