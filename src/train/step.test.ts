import { expect, it } from "vitest";
import { microBatchSeed } from "./step.ts";

it("makes seeds that differ in every place of a run and between runs", () => {
  const seeds = new Set<number>();
  for (const seed of [0, 1, 2, 2 ** 40])
    for (let step = 0; step < 200; step++)
      for (let index = 0; index < 8; index++) {
        const made = microBatchSeed(seed, step, index);
        expect(made).toBe(made >>> 0);
        seeds.add(made);
      }
  expect(seeds.size).toBe(4 * 200 * 8);
});
