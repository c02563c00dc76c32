// Lengths that texts are padded to where nothing is trained: few distinct ones, so that few kernels are
// compiled.

import type { Batch } from "./batch.ts";

/** The length that a sequence is padded to. */
export function roundedLength(length: number): number {
  if (length === 1) return 1;
  const step = length <= 8 ? 8 : length <= 256 ? 16 : 64;
  return Math.ceil(length / step) * step;
}

/** `row` with zeros behind it. */
export function padded(row: readonly number[], length: number): number[] {
  return [...row, ...new Array<number>(length - row.length).fill(0)];
}

/** Texts side by side, each padded to the rounded length of the longest. */
export function paddedRows(
  rows: readonly (readonly number[])[],
): Required<Pick<Batch, "inputIds" | "attentionMask">> {
  const length = roundedLength(Math.max(...rows.map((row) => row.length)));
  const isReal = (row: readonly number[]) => row.map(() => 1);
  return {
    inputIds: rows.map((row) => padded(row, length)),
    attentionMask: rows.map((row) => padded(isReal(row), length)),
  };
}
