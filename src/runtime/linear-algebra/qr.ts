// The leading part of a matrix's QR decomposition. A few columns of a large matrix are wanted, which takes
// as many products with it: 16 columns of 1024² took 0.1 s where ml-matrix, which has the whole
// decomposition alone, took 36 s.

import type { Random } from "../random.ts";
import { type DenseMatrix, productTransposed } from "./dense-matrix.ts";
import { appendOrthonormal } from "./vectors.ts";

/**
 * The first `count` columns of Q (each of length rows) and the first `count` rows of R (each of
 * length columns) in W = Q R, the diagonal of R not negative.
 * @param random draws a column of Q where a column of W depends on those before it
 */
export function leadingQr(
  weight: DenseMatrix,
  count: number,
  random: Random,
): { q: Float64Array[]; r: Float64Array[] } {
  const { data, rows, columns } = weight;
  const q: Float64Array[] = [];
  for (let column = 0; column < count; column++)
    appendOrthonormal(
      q,
      Float64Array.from({ length: rows }, (_, row) => data[row * columns + column]!),
      random,
    );
  // Below the diagonal R is zero but for rounding.
  const r = q.map((vector, row) => productTransposed(weight, vector).fill(0, 0, row));
  return { q, r };
}
