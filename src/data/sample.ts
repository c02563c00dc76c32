// What one example is to a model: token ids, and which of them are trained on.

import { IGNORED_LABEL, type PixelValues } from "../engine/batch.ts";

export interface Sample {
  readonly inputIds: number[];
  /**
   * `inputIds` where a token is trained on, -100 elsewhere; same length. Where one blank's answer follows
   * another's, the end of the first in the place of the second's start.
   */
  readonly labels: number[];
  /** For models that fill blanks: how many tokens, from the first on, see each other. */
  readonly contextLength?: number;
  /** Where positions are not 0, 1, 2, …; same length. */
  readonly positionIds?: number[];
  /** For classifiers, what is right of the whole, as `Batch.rowLabels` has it. */
  readonly rowLabel?: readonly number[];
  /** Its images, in the order of their tokens. */
  readonly images?: readonly SampleImage[];
  /** The record it came from, as Row.where. */
  readonly where: string;
}

/** An image, and its tokens: those that it gives its rows to, and what stands around them. */
export interface SampleImage {
  /** Its file. */
  readonly path: string;
  /** From this position of `inputIds` … */
  readonly start: number;
  /** … up to this one. */
  readonly end: number;
  readonly pixelValues: PixelValues;
}

/** Tokens of images. */
export const imageTokensOf = ({ images = [] }: Sample): number =>
  images.reduce((sum, { start, end }) => sum + end - start, 0);

/**
 * What is trained on: the label of the whole, or positions. Labels of tokens are shifted by one in the
 * loss, so the first never counts.
 */
export function targetsOf({ labels, rowLabel }: Sample): number {
  if (rowLabel) return 1;
  let count = 0;
  for (let position = 1; position < labels.length; position++)
    if (labels[position] !== IGNORED_LABEL) count++;
  return count;
}
