import { expect, it } from "vitest";
import type { TunesmithError } from "../errors.ts";
import { changedSettings, completeSettings, planSteps, type TrainingSettings } from "./settings.ts";

function faultsOf(given: Partial<TrainingSettings>, canEvaluate = true): string[] {
  try {
    completeSettings(given, canEvaluate);
    return [];
  } catch (error) {
    return (error as TunesmithError).faults.map(({ where }) => where);
  }
}

it("accepts its own defaults, and lets maxSteps alone decide where it is given", () => {
  expect(completeSettings({}, false)).toMatchObject({ epochs: 3, optimizer: "adamw" });
  expect(completeSettings({ maxSteps: 5 }, false).epochs).toBeUndefined();
  expect(completeSettings({ maxSteps: 5, epochs: undefined, seed: undefined }, false).seed).toBe(0);
});

it.each<[keyof TrainingSettings, unknown[]]>([
  ["epochs", [0, -1, Number.NaN, Number.POSITIVE_INFINITY]],
  ["maxSteps", [0, 1.5]],
  ["gradientAccumulation", [0, 2.5]],
  ["learningRate", [-1, Number.NaN]],
  ["schedule", ["polynomial"]],
  ["optimizer", ["adam"]],
  ["warmupSteps", [-1, 0.1]],
  ["warmupRatio", [-0.1, 3]],
  ["minimumRatio", [2]],
  ["weightDecay", [-0.1]],
  ["betas", [[0.9], [0.9, 1]]],
  ["epsilon", [-1]],
  ["momentum", [1]],
  ["maxGradientNorm", [-1, Number.NaN]],
  ["evaluateEvery", [0]],
  ["saveEvery", [1.5]],
  ["keepLast", [0]],
  ["keepBest", ["yes"]],
  ["earlyStoppingPatience", [0]],
  ["seed", [-1, 0.5]],
  ["logEvery", [0]],
])("refuses impossible values of %s", (key, values) => {
  for (const value of values) expect(faultsOf({ [key]: value })).toEqual([`train.${key}`]);
});

it("tells all faults at once", () => {
  expect(faultsOf({ learningRate: -1, keepLast: 0 })).toEqual([
    "train.learningRate",
    "train.keepLast",
  ]);
});

it("stops early only by evaluations", () => {
  expect(faultsOf({ earlyStoppingPatience: 2 })).toEqual([]);
  expect(faultsOf({ earlyStoppingPatience: 2 }, false)).toEqual(["train.earlyStoppingPatience"]);
  expect(faultsOf({ earlyStoppingPatience: 2, evaluateEvery: "never" })).toHaveLength(1);
});

it("plans steps by epochs, by steps, or by whichever ends first", () => {
  const plan = (given: Partial<TrainingSettings>, batches?: number) =>
    planSteps(completeSettings({ gradientAccumulation: 4, ...given }, false), batches);
  expect(plan({ epochs: 3 }, 10)).toEqual({ stepsPerEpoch: 3, totalSteps: 9 });
  expect(plan({ epochs: 0.5 }, 10)).toEqual({ stepsPerEpoch: 3, totalSteps: 2 });
  expect(plan({ maxSteps: 7 }, 10)).toEqual({ stepsPerEpoch: 3, totalSteps: 7 });
  expect(plan({ epochs: 3, maxSteps: 7 }, 10).totalSteps).toBe(7);
  expect(plan({ epochs: 3, maxSteps: 70 }, 10).totalSteps).toBe(9);
  expect(plan({ maxSteps: 7 })).toEqual({ totalSteps: 7 });
  expect(plan({ schedule: "constant" })).toEqual({});
});

it("needs the length of the data only where something depends on it", () => {
  const plan = (given: Partial<TrainingSettings>) => () =>
    planSteps(completeSettings(given, false), undefined);
  expect(plan({ schedule: "linear" })).toThrow('the schedule "linear" must know');
  expect(plan({ schedule: "constant", epochs: 1.5 })).toThrow("a fraction of an epoch");
  expect(plan({ schedule: "constant", warmupRatio: 0.1 })).toThrow("warmupRatio");
  expect(plan({ schedule: "constant", warmupRatio: 0 })()).toEqual({});
});

it("names changes that change the losses, and no others", () => {
  const before = completeSettings({ seed: 1 }, false);
  const now = completeSettings({ seed: 2, keepLast: 9, warmupSteps: 3 }, false);
  expect(changedSettings(before, now)).toEqual(["seed: 1 -> 2", "warmupSteps: none -> 3"]);
});
