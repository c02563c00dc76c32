import { expect, it } from "vitest";
import { interleaved, reordered, ungrouped } from "./gguf-row-order.ts";

const numbered = (rows: number, width: number) =>
  Float32Array.from({ length: rows * width }, (_, i) => Math.floor(i / width));
const column = (data: Float32Array, width: number) =>
  Array.from(data).filter((_, i) => i % width === 0);

it("interleaves the halves of each head", () => {
  const order = interleaved(2, 4);
  expect(column(reordered(numbered(8, 3), order), 3)).toEqual([0, 2, 1, 3, 4, 6, 5, 7]);
});

it("puts the queries of all groups first, then their keys, then their values", () => {
  // Two groups of three query heads, a key and a value, each of two rows.
  const order = ungrouped(2, 3, 2);
  expect(order.rows).toBe(20);
  const queries = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15];
  expect(column(reordered(numbered(20, 2), order), 2)).toEqual([
    ...queries,
    ...[6, 7, 16, 17],
    ...[8, 9, 18, 19],
  ]);
});

it("does so where every head is a group, and where there is one", () => {
  expect(column(reordered(numbered(12, 1), ungrouped(2, 1, 2)), 1)).toEqual([
    0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11,
  ]);
  const same = Array.from({ length: 12 }, (_, i) => i);
  expect(column(reordered(numbered(12, 1), ungrouped(1, 4, 2)), 1)).toEqual(same);
});
