// What one step of a model reads: token ids with what may attend to what and what is trained on.
// Data makes batches, the engine runs them.

/** Rows of equal length, shorter ones padded on the right (any token id serves as padding). */
export interface Batch {
  /** Token ids, [batch][seq]. */
  readonly inputIds: readonly (readonly number[])[];
  /** 1 for real tokens, 0 for padding, [batch][seq]. Absent: everything is real. */
  readonly attentionMask?: readonly (readonly number[])[];
  /** Token ids to predict, aligned with `inputIds` (shifted inside); -100 is not trained on. */
  readonly labels?: readonly (readonly number[])[];
  /**
   * For classifiers, what is right of each row: the number of its label, [batch][1]; where the problem
   * is not of a single label, a value for every label, [batch][labels].
   */
  readonly rowLabels?: readonly (readonly number[])[];
  /** Positions for the rotary embedding; absent: 0, 1, 2, … in every row. */
  readonly positionIds?: readonly (readonly number[])[];
  /**
   * 1 where a position belongs to the context, all of which sees itself whichever comes first; for models
   * that have such (GLM-130B). [batch][seq]
   */
  readonly contextMask?: readonly (readonly number[])[];
  /** Packing: tokens attend only within the same number; 0 is padding. */
  readonly segmentIds?: readonly (readonly number[])[];
  /**
   * Of models that look at images, the pictures, in the order in which their tokens stand in the rows: a
   * token for every row that a picture makes.
   */
  readonly pixelValues?: readonly PixelValues[];
}

/** A picture as a model reads it: its images, all of one size, [images, channels, height, width]. */
export interface PixelValues {
  /** The numbers, or a function that reads them when they are needed. */
  readonly data: Float32Array | (() => Promise<Float32Array>);
  readonly shape: readonly number[];
}

export const pixelsOf = async ({ data }: PixelValues): Promise<Float32Array> =>
  typeof data === "function" ? data() : data;

/** The label that excludes a position from the loss, as in Transformers. */
export const IGNORED_LABEL = -100;

/** How many positions of a batch are trained on (labels are shifted by one, so the first never is). */
export function countTargets(labels: readonly (readonly number[])[]): number {
  let count = 0;
  for (const row of labels)
    for (let position = 1; position < row.length; position++)
      if (row[position] !== IGNORED_LABEL) count++;
  return count;
}

/** What the loss of a batch is a mean over: trained positions, or labelled rows. */
export const targetsOfBatch = ({ labels, rowLabels }: Batch): number =>
  rowLabels ? rowLabels.length : countTargets(labels ?? []);
