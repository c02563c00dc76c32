// Which samples make which batch of an epoch, from their lengths alone: packing, shuffling, and
// batches of rows of similar length, which need the least padding.

import type { Random } from "../runtime/random.ts";
import { packBestFit } from "./pack.ts";

export interface PlanOptions {
  /** Rows in a batch. */
  readonly batchSize: number;
  /** Tokens in a row at most; used by packing. */
  readonly maxLength: number;
  readonly packing: boolean;
  /** Whether rows of similar length go together; otherwise rows are batched in their order. */
  readonly bucketing: boolean;
}

/** A batch as rows, a row as the indices of its samples (one unless packed). */
export type PlannedBatch = readonly (readonly number[])[];

export interface Plan {
  readonly batches: readonly PlannedBatch[];
  /** Samples that fill no whole batch; they wait for the next ones of a stream. */
  readonly leftover: readonly number[];
}

/** Length buckets are drawn from windows of this many batches, fewer for small data. */
const BUCKET_WINDOW = 64;

/**
 * Plans batches for samples of the given lengths.
 *
 * @param random shuffles samples and batches; absent, the order of the samples is kept as far as
 *   packing and bucketing allow.
 * @param last false when more samples follow: then what fills no whole batch is left over.
 */
export function planBatches(
  lengths: ArrayLike<number>,
  options: PlanOptions,
  random?: Random,
  last = true,
): Plan {
  const { batchSize, maxLength, packing } = options;
  const items = Array.from({ length: lengths.length }, (_, index) => index);
  random?.shuffle(items);
  let rows: number[][] = packing
    ? packBestFit(items, lengths, maxLength)
    : items.map((item) => [item]);
  const lengthOf = (row: readonly number[]) =>
    row.reduce((sum, item) => sum + (lengths[item] as number), 0);

  const held = last ? 0 : rows.length % batchSize;
  // The emptiest packed rows wait, to be filled better.
  if (packing && held > 0) rows = sortedBy(rows, (row) => -lengthOf(row));
  const leftover = rows.splice(rows.length - held).flat();

  if (packing) {
    if (random) random.shuffle(rows);
    else rows = sortedBy(rows, (row) => Math.min(...row));
  }
  const window = Math.min(BUCKET_WINDOW, Math.ceil(rows.length / batchSize / 4)) * batchSize;
  const ordered = options.bucketing
    ? chunks(rows, window).flatMap((chunk) => sortedBy(chunk, lengthOf))
    : rows;
  return { batches: inRandomOrder(chunks(ordered, batchSize), batchSize, random), leftover };
}

/** A batch with fewer rows than the others stays last. */
function inRandomOrder(
  batches: number[][][],
  batchSize: number,
  random: Random | undefined,
): number[][][] {
  if (!random) return batches;
  const whole = batches.filter((batch) => batch.length === batchSize);
  const rest = batches.filter((batch) => batch.length < batchSize);
  return [...random.shuffle(whole), ...rest];
}

function sortedBy<T>(items: readonly T[], key: (item: T) => number): T[] {
  return items
    .map((item) => ({ item, key: key(item) }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  const result: T[][] = [];
  for (let start = 0; start < items.length; start += Math.max(1, size))
    result.push(items.slice(start, start + size));
  return result;
}
