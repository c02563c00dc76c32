// A forward pass as callers see it: logits, and the mean loss where there are labels.

import { targetsOfBatch } from "./batch.ts";
import type { Model } from "./model.ts";
import type { Network } from "./network.ts";

/** `Model.forward` over a network. */
export function forwardWith(network: Network): Model["forward"] {
  return async (batch) => {
    const logits = await network.logits(batch);
    if (targetsOfBatch(batch) === 0) return { logits };
    const { lossSum, tokenCount } = await network.evaluateLoss(batch);
    return { logits, loss: lossSum / tokenCount };
  };
}
