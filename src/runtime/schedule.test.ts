import { expect, it } from "vitest";
import { countWarmupSteps, createSchedule, type ScheduleSettings } from "./schedule.ts";

// transformers 5.23, get_scheduler(name, num_warmup_steps=3, num_training_steps=10); the last one is
// "cosine_with_min_lr" with min_lr_rate 0.1.
const TRANSFORMERS_CASES: [Pick<ScheduleSettings, "name" | "minimumRatio">, number[]][] = [
  [{ name: "constant" }, [0, 1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, 1]],
  [
    { name: "linear" },
    [
      0,
      1 / 3,
      2 / 3,
      1,
      0.8571428571,
      0.7142857142,
      0.5714285714,
      0.4285714285,
      0.2857142857,
      0.1428571428,
    ],
  ],
  [
    { name: "cosine" },
    [
      0,
      1 / 3,
      2 / 3,
      1,
      0.9504844339,
      0.8117449009,
      0.6112604669,
      0.388739533,
      0.1882550991,
      0.049515566,
    ],
  ],
  [
    { name: "cosine", minimumRatio: 0.1 },
    [
      0,
      1 / 3,
      2 / 3,
      1,
      0.9554359905,
      0.8305704108,
      0.6501344202,
      0.4498655797,
      0.2694295891,
      0.1445640094,
    ],
  ],
];

it.each(TRANSFORMERS_CASES)("%o follows Transformers", (settings, expected) => {
  const factor = createSchedule({ ...settings, warmupSteps: 3, totalSteps: 10 });
  for (const [step, value] of expected.entries()) expect(factor(step)).toBeCloseTo(value, 9);
});

it("stays at the minimum after the last step", () => {
  const factor = createSchedule({ name: "linear", totalSteps: 4, minimumRatio: 0.25 });
  expect([0, 4, 9].map(factor)).toEqual([1, 0.25, 0.25]);
});

it("rounds the warm-up of a ratio up, and prefers steps that are given", () => {
  expect(countWarmupSteps({ name: "linear", totalSteps: 101, warmupRatio: 0.03 })).toBe(4);
  expect(
    countWarmupSteps({ name: "linear", totalSteps: 101, warmupRatio: 0.5, warmupSteps: 0 }),
  ).toBe(0);
});

it("needs no total for a constant rate", () => {
  expect(createSchedule({ name: "constant", warmupSteps: 2 })(1000)).toBe(1);
});
