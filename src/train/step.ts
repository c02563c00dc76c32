// One optimizer step: gradients of all its micro-batches, their norm, and the update.

import type { Model } from "../engine/model.ts";
import {
  clipFactor,
  globalGradientNorm,
  type Optimizer,
  zeroGradients,
} from "../runtime/optimizer.ts";
import { createRandom } from "../runtime/random.ts";
import type { BatchGroup } from "./batch-groups.ts";
import { notFinite, type RunPosition } from "./faults.ts";
import type { TrainingSettings } from "./settings.ts";

export interface StepResult {
  /** Mean over all targets of the group. */
  readonly loss: number;
  /** What the method adds to the loss that gradients are of, where it adds anything. */
  readonly methodLoss?: number;
  /** Before clipping. */
  readonly gradientNorm: number;
}

export interface StepRequest {
  /** Has at least one target. */
  readonly group: BatchGroup;
  readonly learningRate: number;
  /** Before the step. */
  readonly position: RunPosition;
  readonly signal?: AbortSignal;
}

/**
 * Runs one optimizer step. Aborted, it finishes the micro-batch
 * that it is at, changes no parameter and returns undefined. Throws where loss or gradient are not
 * finite, before any parameter is touched.
 */
export async function runStep(
  model: Model,
  optimizer: Optimizer,
  settings: Pick<TrainingSettings, "seed" | "maxGradientNorm">,
  { group, learningRate, position, signal }: StepRequest,
): Promise<StepResult | undefined> {
  const { parameters } = model;
  zeroGradients(parameters);
  let lossSum = 0;
  let methodLoss: number | undefined;
  for (const [index, batch] of group.batches.entries()) {
    if (signal?.aborted) return undefined;
    const seed = microBatchSeed(settings.seed, position.step, index);
    const part = await model.accumulateGradients(batch, {
      scale: 1 / group.targets,
      auxiliaryScale: 1 / group.batches.length,
      seed,
    });
    lossSum += part.lossSum;
    if (part.auxiliaryLoss !== undefined)
      methodLoss = (methodLoss ?? 0) + part.auxiliaryLoss / group.batches.length;
  }
  const loss = lossSum / group.targets;
  if (!Number.isFinite(loss)) throw notFinite("loss", loss, learningRate, position);
  const gradientNorm = globalGradientNorm(parameters);
  if (!Number.isFinite(gradientNorm))
    throw notFinite("gradient norm", gradientNorm, learningRate, position);
  const { maxGradientNorm } = settings;
  const factor = maxGradientNorm > 0 ? clipFactor(gradientNorm, maxGradientNorm) : 1;
  optimizer.step(learningRate, factor);
  model.schedule?.afterStep(position.step, factor);
  return { loss, ...(methodLoss !== undefined && { methodLoss }), gradientNorm };
}

/**
 * A 32-bit seed for one micro-batch, a pure function of its place in the run, so that nothing about
 * randomness needs to be saved.
 */
export function microBatchSeed(seed: number, step: number, index: number): number {
  return createRandom([seed, step, index]).nextUint32();
}
