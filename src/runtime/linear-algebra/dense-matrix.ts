// Matrices as checkpoints hold them, and their products with vectors in double precision.

/** [rows, columns] in single precision, row after row. */
export interface DenseMatrix {
  readonly data: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

/** W x, in four sums, as an addition that waits for the last one costs four times as much. */
export function product({ data, rows, columns }: DenseMatrix, x: Float64Array): Float64Array {
  const y = new Float64Array(rows);
  const whole = columns - (columns % 4);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    let [s0, s1, s2, s3] = [0, 0, 0, 0];
    for (let i = 0; i < whole; i += 4) {
      s0 += data[start + i]! * x[i]!;
      s1 += data[start + i + 1]! * x[i + 1]!;
      s2 += data[start + i + 2]! * x[i + 2]!;
      s3 += data[start + i + 3]! * x[i + 3]!;
    }
    for (let i = whole; i < columns; i++) s0 += data[start + i]! * x[i]!;
    y[row] = s0 + s1 + (s2 + s3);
  }
  return y;
}

/** Wᵀ y. */
export function productTransposed(
  { data, rows, columns }: DenseMatrix,
  y: Float64Array,
): Float64Array {
  const x = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    const factor = y[row]!;
    for (let i = 0; i < columns; i++) x[i]! += data[start + i]! * factor;
  }
  return x;
}

/** Products with a matrix [rows, columns], where there are faster ones than this file's. */
export interface MatrixProducts {
  /** W x of each vector. */
  times(vectors: readonly Float64Array[]): Promise<Float64Array[]>;
  /** Wᵀ y of each vector. */
  transposedTimes(vectors: readonly Float64Array[]): Promise<Float64Array[]>;
}

/** This file's own products. */
export const plainProducts = (weight: DenseMatrix): MatrixProducts => ({
  times: async (vectors) => vectors.map((vector) => product(weight, vector)),
  transposedTimes: async (vectors) => vectors.map((vector) => productTransposed(weight, vector)),
});
