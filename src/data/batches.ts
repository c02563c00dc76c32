// Samples to a BatchSource, from memory or from a stream: for the same seed and epoch the same batches,
// also when the first ones are skipped.

import type { Batch } from "../engine/batch.ts";
import { createRandom, type Random } from "../runtime/random.ts";
import type { BatchSource } from "./batch-source.ts";
import { type CollateOptions, collate } from "./collate.ts";
import { type PlannedBatch, type PlanOptions, planBatches } from "./plan.ts";
import type { Sample } from "./sample.ts";
import type { SampleList } from "./sample-store.ts";

export interface BatchOptions extends PlanOptions, CollateOptions {
  readonly shuffle: boolean;
  readonly seed: number;
}

/** Batches of samples in memory. Skipping costs the plan of an epoch, no batch is made in vain. */
export function batchesFromMemory(samples: SampleList, options: BatchOptions): BatchSource {
  // The number of batches follows from the lengths alone: a shuffle only exchanges equal ones.
  const { batches } = planBatches(samples.lengths, options, epochRandom(options, 0));
  return {
    batchesPerEpoch: batches.length,
    async *epoch(index, skip = 0) {
      const plan = planBatches(samples.lengths, options, epochRandom(options, index));
      for (const batch of plan.batches.slice(skip)) yield makeBatch(batch, samples, options);
    },
  };
}

/** A stream is shuffled, packed and bucketed within windows of about this many samples and tokens. */
const WINDOW_SAMPLES = 4096;
const WINDOW_TOKENS = 2 ** 21;

/**
 * Batches of samples that are read anew each epoch; memory holds one window of them. Shuffling reaches
 * as far as a window does. Skipping reads and tokenises what it passes over, and makes no batches.
 */
export function batchesFromStream(
  stream: () => AsyncIterable<Sample>,
  options: BatchOptions,
  window: { samples?: number; tokens?: number } = {},
): BatchSource {
  const windowSamples = Math.max(window.samples ?? WINDOW_SAMPLES, options.batchSize);
  const windowTokens = window.tokens ?? WINDOW_TOKENS;
  return {
    async *epoch(index, skip = 0) {
      const random = epochRandom(options, index);
      let toSkip = skip;
      let pending: Sample[] = [];
      let windowIndex = 0;

      function* flush(last: boolean): Generator<Batch> {
        const lengths = pending.map(({ inputIds }) => inputIds.length);
        const windowRandom = random?.fork(windowIndex++);
        const { batches, leftover } = planBatches(lengths, options, windowRandom, last);
        const list = { lengths, get: (item: number) => pending[item]! };
        for (const batch of batches.slice(toSkip)) yield makeBatch(batch, list, options);
        toSkip = Math.max(0, toSkip - batches.length);
        pending = [...leftover].sort((a, b) => a - b).map((item) => list.get(item));
      }

      let fresh = 0; // what arrived since the last flush, so that leftovers cannot fill a window
      let tokens = 0;
      for await (const sample of stream()) {
        pending.push(sample);
        tokens += sample.inputIds.length;
        if (++fresh < windowSamples && tokens < windowTokens) continue;
        yield* flush(false);
        fresh = 0;
        tokens = 0;
      }
      yield* flush(true);
    },
  };
}

function epochRandom(options: BatchOptions, epoch: number): Random | undefined {
  return options.shuffle ? createRandom(options.seed).fork("batches").fork(epoch) : undefined;
}

function makeBatch(planned: PlannedBatch, samples: SampleList, options: BatchOptions): Batch {
  return collate(
    planned.map((row) => row.map((item) => samples.get(item))),
    options,
  );
}
