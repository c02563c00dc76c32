// AdamW whose settings may change from one step to the next while its moments stay, as when the
// options of a PyTorch optimizer are changed between steps.

import {
  clipFactor,
  createOptimizer,
  globalGradientNorm,
  type Optimizer,
  type TrainableTensor,
} from "../runtime/optimizer.ts";
import type { TrainStepOptions } from "./loaded-model.ts";

/** Updates the tensors from their gradients; the gradients' norm, and what clipping did to them. */
export type AdamWStep = (options: TrainStepOptions) => {
  readonly gradNorm: number;
  readonly gradientScale: number;
};

export function createAdamWSteps(tensors: readonly TrainableTensor[]): AdamWStep {
  let optimizer: Optimizer | undefined;
  let settingsInUse = "";
  return ({ learningRate, weightDecay = 0.01, betas = [0.9, 0.999], eps = 1e-8, maxGradNorm }) => {
    const settings = JSON.stringify([weightDecay, betas, eps]);
    if (!optimizer || settings !== settingsInUse) {
      const decays = () => true;
      const next = createOptimizer(tensors, {
        name: "adamw",
        weightDecay,
        betas,
        epsilon: eps,
        decays,
      });
      if (optimizer) continueFrom(next, optimizer);
      optimizer = next;
      settingsInUse = settings;
    }
    const gradNorm = globalGradientNorm(tensors);
    const gradientScale = maxGradNorm === undefined ? 1 : clipFactor(gradNorm, maxGradNorm);
    optimizer.step(learningRate, gradientScale);
    return { gradNorm, gradientScale };
  };
}

function continueFrom(next: Optimizer, previous: Optimizer): void {
  for (const [name, array] of next.state) array.set(previous.state.get(name)!);
  next.restoreStepCount(previous.stepCount);
}
