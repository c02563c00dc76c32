// Which rows an expert has, and moving parts of rows between matrices: what a kernel cannot do, since
// its shapes are fixed and how many rows an expert gets is not.

/** Rows [rows, width] of which some columns are meant. */
export interface ColumnBlock {
  readonly data: Float32Array;
  readonly width: number;
  readonly start: number;
}

/** Rows with something in the given column. */
export function rowsInColumn({ data, width, start }: ColumnBlock, rows: number): Int32Array {
  const found: number[] = [];
  for (let row = 0; row < rows; row++) if (data[row * width + start]! !== 0) found.push(row);
  return Int32Array.from(found);
}

/** Row counts that experts are compiled for: powers of two, from 16 on four steps from one to the next. */
export function expertRowCount(count: number): number {
  const power = 2 ** Math.ceil(Math.log2(count));
  if (power <= 16) return power;
  const step = power / 8;
  return Math.ceil(count / step) * step;
}

/** Copies `count` columns of the given rows of `source` into consecutive rows of `target`. */
export function gatherColumns(
  source: ColumnBlock,
  rows: Int32Array,
  target: ColumnBlock,
  count: number,
): void {
  rows.forEach((row, i) => {
    const from = row * source.width + source.start;
    target.data.set(source.data.subarray(from, from + count), i * target.width + target.start);
  });
}

/** Adds `count` columns of consecutive rows of `source` to the given rows of `target`. */
export function scatterAddColumns(
  source: ColumnBlock,
  rows: Int32Array,
  target: ColumnBlock,
  count: number,
): void {
  for (let i = 0; i < rows.length; i++) {
    const from = i * source.width + source.start;
    const into = rows[i]! * target.width + target.start;
    for (let j = 0; j < count; j++) target.data[into + j]! += source.data[from + j]!;
  }
}
