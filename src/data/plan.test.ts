import { describe, expect, it } from "vitest";
import { createRandom } from "../runtime/random.ts";
import { packBestFit } from "./pack.ts";
import { type PlanOptions, planBatches } from "./plan.ts";

const random = createRandom(1);
const lengths = Array.from({ length: 500 }, () => 1 + random.below(100));
const indices = lengths.map((_, index) => index);
const sum = (items: readonly number[]) => items.reduce((total, item) => total + lengths[item]!, 0);
const sorted = (items: readonly number[]) => [...items].sort((a, b) => a - b);

describe("packBestFit", () => {
  it("holds every item once, in rows that fit", () => {
    const rows = packBestFit(indices, lengths, 128);
    expect(sorted(rows.flat())).toEqual(indices);
    for (const row of rows) expect(sum(row)).toBeLessThanOrEqual(128);
  });

  it("puts each item into the fullest row with room, as a plain search does", () => {
    for (const capacity of [100, 128, 1000]) {
      const rooms: number[] = [];
      for (const length of [...lengths].sort((a, b) => b - a)) {
        const fitting = rooms.filter((room) => room >= length);
        if (fitting.length === 0) rooms.push(capacity - length);
        else rooms[rooms.indexOf(Math.min(...fitting))]! -= length;
      }
      const packed = packBestFit(indices, lengths, capacity).map((row) => capacity - sum(row));
      expect(sorted(packed)).toEqual(sorted(rooms));
    }
  });

  it("fills rows whole where the lengths allow, at word borders too", () => {
    expect(packBestFit([0, 1, 2, 3], [32, 32, 64, 1], 64)).toEqual([[2], [0, 1], [3]]);
    expect(packBestFit([0, 1], [33, 31], 64)).toEqual([[0, 1]]);
    expect(packBestFit([0, 1, 2], [1, 31, 32], 32)).toEqual([[2], [1, 0]]);
  });

  it("wastes little: within two percent of full on mixed lengths", () => {
    const rows = packBestFit(indices, lengths, 512);
    expect(sum(indices) / (rows.length * 512)).toBeGreaterThan(0.98);
  });

  it("refuses what fits no row", () => {
    expect(() => packBestFit([0], [65], 64)).toThrow(RangeError);
  });
});

describe("planBatches", () => {
  const options: PlanOptions = { batchSize: 8, maxLength: 128, packing: false, bucketing: true };
  const waste = (batches: readonly (readonly (readonly number[])[])[]) => {
    const padded = batches.map((batch) => batch.length * Math.max(...batch.map((row) => sum(row))));
    return padded.reduce((a, b) => a + b) / sum(batches.flat(2)) - 1;
  };

  it("keeps the order of the samples when nothing is asked for", () => {
    const { batches, leftover } = planBatches(lengths, { ...options, bucketing: false });
    expect(batches.flat(2)).toEqual(indices);
    expect(leftover).toEqual([]);
    expect(batches.slice(0, -1).every((batch) => batch.length === 8)).toBe(true);
    expect(batches.at(-1)).toHaveLength(500 % 8);
  });

  it("shuffles all samples, differently by seed, with a short batch last", () => {
    const plan = (seed: number) => planBatches(lengths, options, createRandom(seed)).batches;
    expect(sorted(plan(1).flat(2))).toEqual(indices);
    expect(plan(1)).toEqual(plan(1));
    expect(plan(1)).not.toEqual(plan(2));
    expect(plan(1).at(-1)).toHaveLength(4);
    const composition = (seed: number) =>
      new Set(plan(seed).map((batch) => sorted(batch.flat()).join()));
    const again = [...composition(1)].filter((batch) => composition(2).has(batch));
    expect(again.length).toBeLessThan(5);
  });

  it("saves most of the padding by bucketing", () => {
    const plain = planBatches(lengths, { ...options, bucketing: false }, createRandom(1));
    const bucketed = planBatches(lengths, options, createRandom(1));
    expect(waste(plain.batches)).toBeGreaterThan(0.5);
    expect(waste(bucketed.batches)).toBeLessThan(0.15);
    const lengthsInOrder = bucketed.batches.map((batch) => sum(batch[0]!));
    expect(lengthsInOrder).not.toEqual(sorted(lengthsInOrder)); // batches are in random order
  });

  it("packs, with as many batches for every seed", () => {
    const packing = { ...options, packing: true };
    const plans = [1, 2, 3].map(
      (seed) => planBatches(lengths, packing, createRandom(seed)).batches,
    );
    for (const batches of plans) {
      expect(sorted(batches.flat(2))).toEqual(indices);
      for (const row of batches.flat()) expect(sum(row)).toBeLessThanOrEqual(128);
      expect(batches).toHaveLength(plans[0]!.length);
    }
    expect(plans[0]).not.toEqual(plans[1]);
  });

  it("leaves over what fills no batch while more is to come", () => {
    for (const packing of [false, true]) {
      const { batches, leftover } = planBatches(lengths, { ...options, packing }, undefined, false);
      expect(batches.every((batch) => batch.length === 8)).toBe(true);
      expect(sorted([...batches.flat(2), ...leftover])).toEqual(indices);
      expect(leftover.length).toBeGreaterThan(0);
    }
  });

  it("plans nothing for nothing", () => {
    expect(planBatches([], options)).toEqual({ batches: [], leftover: [] });
    expect(planBatches([], { ...options, packing: true }, createRandom(1)).batches).toEqual([]);
  });
});
