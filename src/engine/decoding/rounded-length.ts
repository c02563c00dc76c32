// Lengths that generation computes at: few distinct ones, so that few kernels are compiled.

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
