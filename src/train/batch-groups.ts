// Micro-batches grouped into optimizer steps. A group is known whole before it is run, because the
// loss of a step is the mean over all its targets: accumulation then equals one large batch.

import type { BatchSource } from "../data/index.ts";
import { type Batch, targetsOfBatch } from "../engine/batch.ts";
import { TunesmithError } from "../errors.ts";

export interface BatchGroup {
  readonly batches: readonly Batch[];
  /** Positions trained on, in all batches together. */
  readonly targets: number;
  /** Whether the epoch has no batch after these. */
  readonly endsEpoch: boolean;
}

/**
 * Groups of `size` batches, epoch after epoch without end; an epoch's last group may be smaller.
 * Begins in epoch `from.epoch` after `from.batch` batches. Throws a TunesmithError ("data") where a
 * whole epoch has nothing to train on.
 */
export async function* readGroups(
  source: BatchSource,
  size: number,
  from: { readonly epoch: number; readonly batch: number },
): AsyncGenerator<BatchGroup, never, void> {
  let skip = from.batch;
  for (let epoch = from.epoch; ; epoch++) {
    let targetsOfEpoch = 0;
    let batches: Batch[] = [];
    const close = (endsEpoch: boolean): BatchGroup => {
      const targets = batches.reduce((sum, batch) => sum + targetsOfBatch(batch), 0);
      targetsOfEpoch += targets;
      return { batches, targets, endsEpoch };
    };
    for await (const batch of source.epoch(epoch, skip)) {
      // A full group is handed out when its successor is there, so that `endsEpoch` is known.
      if (batches.length === size) {
        yield close(false);
        batches = [];
      }
      batches.push(batch);
    }
    if (batches.length > 0) yield close(true);
    if (targetsOfEpoch === 0 && skip === 0)
      throw new TunesmithError("data", {
        where: "data.train",
        rule: "the training data must hold something to learn",
        seen: `no position that is trained on in epoch ${epoch + 1}`,
        fix: "look at it with `tunesmith data preview`; check completions and the length limit",
      });
    skip = 0;
  }
}

/** Tokens of a batch that are not padding. */
export function countTokensOf(batch: Batch): number {
  const mask = batch.attentionMask ?? batch.segmentIds;
  if (!mask) return batch.inputIds.reduce((sum, row) => sum + row.length, 0);
  let count = 0;
  for (const row of mask) for (const value of row) if (value !== 0) count++;
  return count;
}
