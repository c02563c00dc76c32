// The loss over held-out data: the mean over all targets, however they are spread over batches.

import type { BatchSource } from "../data/index.ts";
import type { Model } from "../engine/model.ts";
import { TunesmithError } from "../errors.ts";
import { type Agreement, countAgreement } from "../objectives/index.ts";

export interface Evaluation extends Partial<Agreement> {
  readonly loss: number;
  /** Where texts are continued. */
  readonly perplexity?: number;
  /** Positions, or texts that have a label. */
  readonly targetTokens: number;
}

/**
 * Evaluates a model on every batch of a source's first epoch; `undefined` where `signal` aborted it.
 * Throws a TunesmithError ("data") where the source has nothing to measure.
 */
export async function evaluate(
  model: Model,
  source: BatchSource,
  signal?: AbortSignal,
): Promise<Evaluation | undefined> {
  let lossSum = 0;
  let targetTokens = 0;
  const { classifier } = model;
  const agreement = classifier && countAgreement(classifier);
  for await (const batch of source.epoch(0)) {
    if (signal?.aborted) return undefined;
    const part = await model.evaluateLoss(batch);
    lossSum += part.lossSum;
    targetTokens += part.tokenCount;
    agreement?.add(part.logits!, batch.rowLabels ?? []);
  }
  if (targetTokens === 0)
    throw new TunesmithError("data", {
      where: "data.eval",
      rule: "the evaluation data must hold something to measure",
      seen: "nothing with a label",
      fix: "set more data aside (data.eval: 0.1) or give a file of its own",
    });
  const loss = lossSum / targetTokens;
  if (!classifier) return { loss, perplexity: Math.exp(loss), targetTokens };
  return { loss, targetTokens, ...agreement?.result() };
}
