// Where a training loop gets its batches: the same order for the same seed, and cheap to skip into.

import type { Batch } from "../engine/batch.ts";

export interface BatchSource {
  /** Batches in an epoch, where that is known without reading the whole source. */
  readonly batchesPerEpoch?: number;
  /** One epoch's batches in an order fixed by the seed and `index`; the first `skip` are passed over. */
  epoch(index: number, skip?: number): AsyncIterable<Batch>;
}
