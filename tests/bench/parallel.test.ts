// Several items of a list at once.

import { expect, it } from "vitest";
import { inParallel } from "../../bench/parallel.ts";

it("begins in order, never more than so many at once, and does everything", async () => {
  const begun: number[] = [];
  let [running, most] = [0, 0];
  await inParallel([0, 1, 2, 3, 4, 5, 6], 3, async (item) => {
    begun.push(item);
    most = Math.max(most, ++running);
    for (let turn = 0; turn <= item % 3; turn++) await Promise.resolve();
    running--;
  });
  expect(begun).toEqual([0, 1, 2, 3, 4, 5, 6]);
  expect(most).toBe(3);
});

it("begins nothing more after a failure, waits for what runs, and throws it", async () => {
  const finished: number[] = [];
  const work = async (item: number) => {
    if (item === 1) throw new Error("item 1");
    await new Promise((resolve) => setImmediate(resolve));
    finished.push(item);
  };
  await expect(inParallel([0, 1, 2, 3], 2, work)).rejects.toThrow("item 1");
  expect(finished).toEqual([0]);
});
