// Samples to the arrays of a Batch: rows padded on the right, packed ones with segments and positions.

import { type Batch, IGNORED_LABEL } from "../engine/batch.ts";
import type { Sample } from "./sample.ts";

/** Row lengths are multiples of this where the maximum allows: fewer shapes for the engine to prepare. */
const LENGTH_STEP = 16;

export interface CollateOptions {
  /** No row is padded past it. */
  readonly maxLength: number;
  readonly packing: boolean;
  readonly padTokenId: number;
}

/**
 * Makes a batch of rows of samples (one a row unless packing).
 *
 * Packed, segments count from 1, positions start again with each sample, and the label of a sample's
 * first token is -100: shifted by one, the sample before would have to predict it. Samples with a label of
 * the whole have a row each.
 */
export function collate(rows: readonly (readonly Sample[])[], options: CollateOptions): Batch {
  const { packing, padTokenId } = options;
  const lengths = rows.map((row) => row.reduce((sum, { inputIds }) => sum + inputIds.length, 0));
  const width = paddedLength(Math.max(...lengths), options.maxLength);
  const padded = (fill: number, values: (sample: Sample, index: number) => readonly number[]) =>
    rows.map((row) => {
      const result = row.flatMap(values);
      while (result.length < width) result.push(fill);
      return result;
    });
  const pixelValues = rows
    .flat()
    .flatMap(({ images = [] }) => images.map((image) => image.pixelValues));
  return {
    ...(pixelValues.length > 0 && { pixelValues }),
    inputIds: padded(padTokenId, ({ inputIds }) => inputIds),
    attentionMask: padded(0, ({ inputIds }) => inputIds.map(() => 1)),
    ...(rows[0]?.[0]?.rowLabel
      ? { rowLabels: rows.map(([sample]) => sample!.rowLabel!) }
      : {
          labels: padded(IGNORED_LABEL, ({ labels }) =>
            packing ? [IGNORED_LABEL, ...labels.slice(1)] : labels,
          ),
        }),
    ...((packing || rows.flat().some((sample) => sample.positionIds)) && {
      positionIds: padded(
        0,
        ({ inputIds, positionIds }) => positionIds ?? inputIds.map((_, position) => position),
      ),
    }),
    ...(rows.flat().some(({ contextLength }) => contextLength !== undefined) && {
      contextMask: padded(0, ({ inputIds, contextLength = 0 }) =>
        inputIds.map((_, position) => Number(position < contextLength)),
      ),
    }),
    ...(packing && {
      segmentIds: padded(0, ({ inputIds }, index) => inputIds.map(() => index + 1)),
    }),
  };
}

/** The width of a row of `length` tokens. */
export function paddedLength(length: number, maxLength: number): number {
  const stepped = Math.ceil(length / LENGTH_STEP) * LENGTH_STEP;
  return Math.max(length, Math.min(stepped, maxLength));
}
