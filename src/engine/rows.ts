// Which rows of a batch take part in the loss. Only these go through the last feed-forward and the
// output matrix; the rest of the batch ends with the last attention.

import type { Batch } from "./batch.ts";
import { IGNORED_LABEL } from "./batch.ts";

export interface TargetRows {
  /** Row (batch · seq) whose state predicts each target. */
  readonly rows: Int32Array;
  /** The token or label to predict at each of them; for values, one a logit. */
  readonly labels: Int32Array | Float32Array;
}

/** Labels are shifted: the state at position t predicts the label at t + 1. */
export function targetRows(batch: Batch): TargetRows {
  const rows: number[] = [];
  const labels: number[] = [];
  const sequence = batch.inputIds[0]!.length;
  batch.labels?.forEach((row, b) => {
    for (let t = 1; t < sequence; t++) {
      const label = row[t]!;
      if (label === IGNORED_LABEL) continue;
      rows.push(b * sequence + t - 1);
      labels.push(label);
    }
  });
  return { rows: Int32Array.from(rows), labels: Int32Array.from(labels) };
}

/**
 * The row (batch · seq) of each text's last token, whose state a classifier reads: the last real one
 * that is not `padToken`, as in Transformers; the first where there is none.
 */
export function lastRows({ inputIds, attentionMask }: Batch, padToken?: number): Int32Array {
  const sequence = inputIds[0]!.length;
  return Int32Array.from(inputIds, (row, b) => {
    const last = row.findLastIndex((id, t) => id !== padToken && attentionMask?.[b]?.[t] !== 0);
    return b * sequence + Math.max(0, last);
  });
}

/** Row counts are rounded up to few distinct sizes, so that few kernels are compiled. */
export function paddedRowCount(count: number): number {
  const step = count <= 64 ? 16 : count <= 512 ? 64 : 128;
  return Math.max(step, Math.ceil(count / step) * step);
}

/** Copies rows of `source` [*, width] into consecutive rows of `target`; what is left is zeroed. */
export function gatherRows(
  source: Float32Array,
  rows: ArrayLike<number>,
  width: number,
  target: Float32Array,
): void {
  for (let i = 0; i < rows.length; i++)
    target.set(source.subarray(rows[i]! * width, (rows[i]! + 1) * width), i * width);
  target.fill(0, rows.length * width);
}

/** Adds consecutive rows of `source` to the given rows of `target` [*, width]. */
export function scatterAddRows(
  source: Float32Array,
  rows: ArrayLike<number>,
  width: number,
  target: Float32Array,
  factor = 1,
): void {
  for (let i = 0; i < rows.length; i++) {
    const into = rows[i]! * width;
    const from = i * width;
    for (let j = 0; j < width; j++) target[into + j]! += factor * source[from + j]!;
  }
}
