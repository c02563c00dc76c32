// A recipe's `train` section in the terms of the training loop.

import type { TrainingSettings } from "../train/index.ts";
import type { Recipe } from "./derive.ts";

/** The loop's settings. A warm-up below 1 is a share of all steps, otherwise a number of steps. */
export function trainingSettings({ train, data }: Recipe): Partial<TrainingSettings> {
  const hasEvaluation = data.eval !== 0;
  return {
    epochs: train.epochs,
    maxSteps: train.maxSteps,
    gradientAccumulation: train.gradientAccumulation,
    learningRate: train.learningRate,
    schedule: train.schedule,
    ...(train.warmup < 1
      ? { warmupRatio: train.warmup }
      : { warmupSteps: Math.round(train.warmup) }),
    optimizer: train.optimizer,
    weightDecay: train.weightDecay,
    betas: train.betas,
    epsilon: train.eps,
    maxGradientNorm: train.maxGradientNorm,
    evaluateEvery: hasEvaluation ? train.evaluateEvery : "never",
    saveEvery: train.saveEvery,
    keepLast: train.keepLast,
    keepBest: train.keepBest,
    earlyStoppingPatience: train.earlyStopping,
    seed: train.seed,
  };
}
