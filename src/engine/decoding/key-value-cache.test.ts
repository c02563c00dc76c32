// Rows keep what is theirs wherever they are moved to: brought together, grown, given a slot late.

import { expect, it } from "vitest";
import type { Dimensions } from "../../models/index.ts";
import { floatData, floats } from "../../runtime/values.ts";
import { createKeyValueCache, type KeyValueCache, roundedCapacity } from "./key-value-cache.ts";

const [LAYERS, HEADS, SIZE] = [2, 3, 8];
const dimensions = {
  layers: LAYERS,
  keyValueHeads: HEADS,
  headSize: SIZE,
  maximumPositions: 64,
} as Dimensions;

/** What is written for one position of a row's head. */
const mark = (row: number, layer: number, head: number, position: number) =>
  1 + row * 1000 + layer * 100 + head * 10 + position / 10;

/** Adds positions to a row as attention does. */
function write(cache: KeyValueCache, row: number, count: number): void {
  const slot = cache.slotFor(row);
  const start = cache.lengths[row]!;
  for (let layer = 0; layer < LAYERS; layer++) {
    const { keys, values } = cache.at(layer, slot, 1);
    const prefix = cache.prefixLength(layer);
    for (let head = 0; head < HEADS; head++)
      for (let t = start; t < start + count; t++) {
        const at = (head * cache.capacity + prefix + t) * SIZE;
        floatData(keys).fill(mark(row, layer, head, t), at, at + SIZE);
        floatData(values).fill(-mark(row, layer, head, t), at, at + SIZE);
      }
  }
  cache.advance(row, count);
}

function expectKept(cache: KeyValueCache, row: number): void {
  const slot = cache.slotFor(row);
  for (let layer = 0; layer < LAYERS; layer++) {
    const { keys, values } = cache.at(layer, 0, cache.slots);
    const prefix = cache.prefixLength(layer);
    for (let head = 0; head < HEADS; head++)
      for (let t = -prefix; t < cache.lengths[row]!; t++) {
        const at = ((slot * HEADS + head) * cache.capacity + prefix + t) * SIZE;
        const wanted = t < 0 ? 7 : Math.fround(mark(row, layer, head, t));
        expect(floatData(keys)[at + SIZE - 1], `row ${row}, position ${t}`).toBe(wanted);
        expect(floatData(values)[at]).toBe(t < 0 ? 7 : -wanted);
      }
  }
}

const prefix = floats(new Float32Array(HEADS * 2 * SIZE).fill(7), [1, HEADS, 2, SIZE]);
const open = () =>
  createKeyValueCache(dimensions, 4, 8, new Map([[1, { keys: prefix, values: prefix }]]));

it("brings rows into the first slots, and copies only what lies elsewhere", () => {
  const cache = open();
  cache.reserve(4, 5);
  for (const [row, count] of [3, 5, 0, 2].entries()) write(cache, row, count);
  expect(cache.gather([0, 3], 2)).toEqual([0, 3]);
  expect(cache.slotFor(3)).toBe(1);
  for (const row of [0, 1, 2, 3]) expectKept(cache, row);
  // Both are among the first already: nothing moves, and the order is theirs.
  expect(cache.gather([3, 0], 2)).toEqual([0, 3]);
  expect(cache.gather([1, 2, 3], 4).slice(3)).toEqual([0]);
  for (const row of [0, 1, 2, 3]) expectKept(cache, row);
});

it("keeps all rows as it grows, in positions and in slots", () => {
  const cache = open();
  cache.reserve(1, 4);
  expect([cache.slots, cache.capacity]).toEqual([1, 8]);
  write(cache, 2, 4);
  write(cache, 0, 3);
  expect(cache.slots).toBe(2);
  cache.reserve(2, 20);
  expect(cache.capacity).toBe(32);
  write(cache, 2, 9);
  write(cache, 1, 1);
  for (const row of [0, 1, 2]) expectKept(cache, row);
});

it("takes less again, once rows that were long are forgotten and others need room", () => {
  const cache = open();
  cache.reserve(1, 60);
  write(cache, 0, 50);
  cache.truncate(0, 0);
  cache.reserve(2, 5);
  expect([cache.slots, cache.capacity]).toEqual([2, 8]);
});

it("has few capacities: doublings, up to the model's context", () => {
  const rounded = [1, 256, 257, 600, 1000, 1001].map((positions) =>
    roundedCapacity(positions, 256, { maximumPositions: 1000 }),
  );
  expect(rounded).toEqual([256, 256, 512, 1000, 1000, 1001]);
});
