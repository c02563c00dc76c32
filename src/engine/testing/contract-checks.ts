// Checks that several files of the contract make: over plain, quantised and 16-bit bases.

import { expect } from "vitest";
import { createOptimizer } from "../../runtime/optimizer.ts";
import { sizeOf } from "../../tensor/index.ts";
import type { Batch } from "../batch.ts";
import type { EngineModel } from "../load.ts";
import { batch as texts } from "./contract-batches.ts";
import { differentiate } from "./tiny-models.ts";

/** Trained tensors are there, under names of their own, as large as they say. */
export function expectOwnTensors(model: EngineModel): void {
  expect(model.parameters.length).toBeGreaterThan(0);
  expect(new Set(model.parameters.map(({ name }) => name)).size).toBe(model.parameters.length);
  for (const { shape, data, gradient } of model.parameters) {
    expect(data.length).toBe(sizeOf(shape));
    expect(gradient.length).toBe(sizeOf(shape));
  }
}

/** How far the gradient's length is from the slope that the loss shows along it, as a share. */
export async function slopeError(model: EngineModel, along: Batch): Promise<number> {
  const { gradients } = await differentiate(model, [along]);
  const squares = [...gradients.values()].map((values) =>
    values.reduce((sum, value) => sum + value * value, 0),
  );
  const norm = Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
  const step = 0.005 / norm; // changes the loss by some 0.5 %: far above rounding, near to linear
  const lossAt = async (distance: number) => {
    for (const { name, data } of model.parameters)
      gradients.get(name)!.forEach((value, i) => {
        data[i]! += (distance * value) / norm;
      });
    return (await differentiate(model, [along])).loss;
  };
  const above = await lossAt(step);
  const below = await lossAt(-2 * step);
  await lossAt(step);
  return Math.abs((above - below) / (2 * step) / norm - 1);
}

/** Eight steps lower the loss, and every tensor has a gradient in one of them: an expert may get no rows. */
export async function expectLearning(
  model: EngineModel,
  learningRate: number,
  batch: Batch = texts,
): Promise<void> {
  const optimizer = createOptimizer(model.parameters, { name: "adamw" });
  const before = (await model.evaluateLoss(batch)).lossSum;
  const idle = new Map(model.parameters.map(({ name, gradient }) => [name, gradient]));
  for (let step = 0; step < 8; step++) {
    await differentiate(model, [batch]);
    for (const [name, gradient] of idle)
      if (gradient.some((value) => value !== 0)) idle.delete(name);
    optimizer.step(learningRate);
  }
  expect((await model.evaluateLoss(batch)).lossSum).toBeLessThan(0.95 * before);
  expect([...idle.keys()]).toEqual([]);
}
