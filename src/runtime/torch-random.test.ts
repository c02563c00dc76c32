// Numbers and digests are PyTorch 2.13's, of float32 bytes.

import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { torchGenerator, torchNormal, torchPermutation, torchUniform } from "./torch-random.ts";

const digest = (values: Float32Array) =>
  createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex");

it.each([
  [0, 2000, 0.3, "506c60bf13ac380b73ba731de955143a3df373dc6ae1a00f26013c5fcca1853c"],
  [
    4294967295,
    1300,
    Math.sqrt(6 / 7),
    "fbd07a05e48d16e15c29a3fb5085ef4aebba16f90a605c6ea5b95b112ac39df2",
  ],
])("seed %i draws PyTorch's uniform numbers, bit by bit", (seed, length, bound, expected) => {
  expect(digest(torchUniform(torchGenerator(seed), length, -bound, bound))).toBe(expected);
});

it.each([
  ["float32", 64, [1.926915, 1.487284, 0.900717, 1.844594, -1.184537, 1.383549]],
  ["float32", 37, [1.926915, 1.487284, 0.900717, 0.049905, 2.266718, 1.178951]],
  ["float64", 64, [0.299556, 0.242378, 0.283207, -1.345748, 1.175517, -2.632792]],
  ["float64", 37, [0.299556, 0.242378, 0.283207, -1.022164, 0.144174, 1.569507]],
] as const)("seed 42 draws PyTorch's %s normal numbers, %i of them", (dtype, length, expected) => {
  const values = torchNormal(torchGenerator(42), length, dtype);
  const ends = [...values.subarray(0, 3), ...values.subarray(-3)];
  ends.forEach((value, i) => {
    expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-6);
  });
});

it("counts 32 bits of a seed", () => {
  expect(torchGenerator(2 ** 32 + 5)()).toBe(torchGenerator(5)());
});

it.each([
  [777, 331776, [96359, 187360, 48337, 166427, 31463, 225426, 58323, 97905, 310375, 98548]],
  [5, 12, [11, 0, 9, 6, 10, 3, 4, 5, 8, 7, 1, 2]],
])("seed %i permutes %i numbers as PyTorch does", (seed, length, expected) => {
  expect(torchPermutation(torchGenerator(seed), length, expected.length)).toEqual(expected);
});
