// What one example is to a model: token ids, and which of them are trained on.

import { IGNORED_LABEL } from "../engine/batch.ts";

export interface Sample {
  readonly inputIds: number[];
  /** `inputIds` where a token is trained on, -100 elsewhere; same length. */
  readonly labels: number[];
  /** The record it came from, as Row.where. */
  readonly where: string;
}

/** Positions that are trained on; labels are shifted by one in the loss, so the first never counts. */
export function targetsOf(labels: readonly number[]): number {
  let count = 0;
  for (let position = 1; position < labels.length; position++)
    if (labels[position] !== IGNORED_LABEL) count++;
  return count;
}
