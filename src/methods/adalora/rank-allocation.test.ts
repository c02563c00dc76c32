import { describe, expect, it } from "vitest";
import {
  allocate,
  type BudgetPlan,
  budgetAt,
  type Factor,
  type Triplets,
  tripletScores,
  updateImportance,
  zeroDropped,
} from "./rank-allocation.ts";

const plan: BudgetPlan = {
  totalSteps: 20,
  initialSteps: 4,
  finalSteps: 6,
  interval: 2,
  initialBudget: 24,
  targetBudget: 8,
};

const factor = (values: number[], sensitivity: number[]): Factor => ({
  values: Float32Array.from(values),
  gradient: new Float32Array(values.length),
  sensitivity: Float32Array.from(sensitivity),
  uncertainty: new Float32Array(values.length).fill(1),
});

/** One module of rank 2 from [3] to [2], with the given importance of its singular values. */
const module = (importance: [number, number]): Triplets => ({
  rank: 2,
  a: factor([1, 1, 1, 1, 1, 1], [3, 0, 0, 0, 0, 0]),
  b: factor([1, 1, 1, 1], [0, 0, 0, 4]),
  e: factor([5, 7], importance),
  kept: new Float32Array(2).fill(1),
});

describe("the budget", () => {
  it("falls by a cubic from all ranks to the target, between the initial and the final steps", () => {
    const budgets = Array.from({ length: 20 }, (_, step) => budgetAt(step, plan));
    const at = (step: number) => Math.trunc(16 * (1 - (step - 4) / 10) ** 3 + 8);
    expect(budgets.slice(0, 6)).toEqual([...new Array(6).fill(undefined)]);
    expect(budgets.slice(6, 14)).toEqual([
      at(6),
      undefined,
      at(8),
      undefined,
      at(10),
      undefined,
      at(12),
      undefined,
    ]);
    expect(budgets[14]).toBe(8);
    expect(budgets.slice(15)).toEqual(new Array(5).fill(undefined));
  });

  it("reaches the target at the last allocation, whatever the interval, and without final steps", () => {
    expect(budgetAt(14, { ...plan, interval: 9 })).toBe(8);
    const toTheEnd = { ...plan, finalSteps: 0 };
    expect(budgetAt(19, toTheEnd)).toBe(8);
    // As PEFT's `budget_schedule` has it.
    expect(budgetAt(8, toTheEnd)).toBe(14);
    expect(budgetAt(18, { ...toTheEnd, initialBudget: 2008 })).toBe(11);
  });
});

describe("importance", () => {
  it("is a mean of |value · gradient|, times the mean of what it deviates by", () => {
    const part: Factor = {
      values: Float32Array.of(2),
      gradient: Float32Array.of(-3),
      sensitivity: Float32Array.of(1),
      uncertainty: Float32Array.of(0.5),
    };
    updateImportance(part, 0.5, 0.8, 0.9);
    expect(part.sensitivity[0]).toBeCloseTo(0.8 * 1 + 0.2 * 3, 6);
    expect(part.uncertainty[0]).toBeCloseTo(0.9 * 0.5 + 0.1 * (3 - 1.4), 6);
  });

  it("of a triplet is that of its value plus the means over its row of A and its column of B", () => {
    expect([...tripletScores(module([0.5, 0.25]))]).toEqual([0.5 + 3 / 3, 0.25 + 4 / 2]);
  });
});

describe("an allocation", () => {
  it("keeps the best of all modules together, and lets the others come back", () => {
    const modules = [module([9, 0]), module([0, 0])];
    allocate(modules, 3);
    expect(modules.map(({ kept }) => [...kept])).toEqual([
      [1, 1],
      [0, 1],
    ]);
    expect(modules.map(({ e }) => [...e.values])).toEqual([
      [5, 7],
      [0, 7],
    ]);
    modules[1]!.e.values[0] = 0.25;
    zeroDropped(modules[1]!);
    expect(modules[1]!.e.values[0]).toBe(0);
    modules[1]!.e.sensitivity[0] = 20;
    allocate(modules, 2);
    expect(modules.map(({ kept }) => [...kept])).toEqual([
      [1, 0],
      [1, 0],
    ]);
  });

  it("drops nothing where the budget is all there is", () => {
    const modules = [module([1, 2])];
    allocate(modules, 2);
    expect([...modules[0]!.kept]).toEqual([1, 1]);
  });
});
