// Parts of a matrix's singular value decomposition, in double precision. A few vectors of a large matrix
// are wanted, which costs a few products with it and no copy of it: 16 triplets of 1024² took 2.6 s where
// ml-matrix, which has all of them alone, took 35 s. Only exactly rounded operations are used: every
// machine finds the same numbers.

import { CholeskyDecomposition, Matrix } from "ml-matrix";
import type { Random } from "../random.ts";
import {
  type DenseMatrix,
  type MatrixProducts,
  plainProducts,
  product,
  productTransposed,
} from "./dense-matrix.ts";
import { eigenpairs, leadingEigenvectors, ROUNDING } from "./eigenvectors.ts";
import { orthonormal, productsOfPairs } from "./orthonormal.ts";
import { combine, normals } from "./vectors.ts";

/** W ≈ Σ values[i] · left[i] right[i]ᵀ, the largest value first. */
export interface SingularTriplets {
  readonly values: readonly number[];
  /** Of length rows, orthonormal. */
  readonly left: readonly Float64Array[];
  /** Of length columns; orthonormal, zero where the value is zero. */
  readonly right: readonly Float64Array[];
}

/**
 * The `count` leading singular triplets. Takes some hundred products with W and as many with Wᵀ.
 * Where values are exactly equal, any of their vectors may be found.
 * @param random draws the vector to start from, on which the result depends by rounding alone
 */
export function leadingTriplets(
  weight: DenseMatrix,
  count: number,
  random: Random,
): SingularTriplets {
  const square = (vector: Float64Array) => product(weight, productTransposed(weight, vector));
  const left = leadingEigenvectors(weight.rows, square, count, random);
  return withinSpan(
    left,
    left.map((vector) => productTransposed(weight, vector)),
  );
}

/**
 * The `count` left or right singular vectors of the smallest of the min(rows, columns) singular
 * values, the smallest last: the leading ones of the inverse square.
 * @param random draws the vector to start from, on which the result depends by rounding alone
 */
export function trailingVectors(
  weight: DenseMatrix,
  count: number,
  side: "left" | "right",
  random: Random,
): Float64Array[] {
  const { data, rows, columns } = weight;
  const isWide = rows <= columns;
  const lines = isWide
    ? Array.from({ length: rows }, (_, row) =>
        Float64Array.from(data.subarray(row * columns, (row + 1) * columns)),
      )
    : Array.from({ length: columns }, (_, column) =>
        Float64Array.from({ length: rows }, (__, row) => data[row * columns + column]!),
      );
  const square = new Matrix(productsOfPairs(lines));
  // What cannot be told from zero is added, so that there is an inverse.
  const least = ROUNDING * square.trace() + Number.MIN_VALUE;
  for (let i = 0; i < lines.length; i++) square.set(i, i, square.get(i, i) + least);
  const factors = new CholeskyDecomposition(square);
  const inverse = (vector: Float64Array) =>
    Float64Array.from(factors.solve(Matrix.columnVector(vector)).to1DArray());
  const found = leadingEigenvectors(lines.length, inverse, count, random).reverse();
  if (isWide === (side === "left")) return found;
  const across = isWide ? productTransposed : product;
  // Orthogonal but for rounding, which is largest where the value is smallest.
  return orthonormal(
    found.map((vector) => across(weight, vector)),
    random,
  );
}

/**
 * Approximate leading triplets by randomised subspace iteration without oversampling (Halko,
 * Martinsson and Tropp 2011, algorithm 4.4): `iterations` + 1 products with W, as many with Wᵀ.
 */
export const sampledTriplets = (
  weight: DenseMatrix,
  count: number,
  iterations: number,
  random: Random,
): Promise<SingularTriplets> =>
  iteratedTriplets(
    plainProducts(weight),
    Array.from({ length: count }, () => normals(weight.columns, random)),
    iterations,
    random,
  );

/**
 * The same from given vectors of length columns.
 * @param random draws what is missing where W has a lower rank
 */
export async function iteratedTriplets(
  { times, transposedTimes }: MatrixProducts,
  start: readonly Float64Array[],
  iterations: number,
  random: Random,
): Promise<SingularTriplets> {
  let range = start;
  for (let pass = 0; ; pass++) {
    const left = orthonormal(await times(range), random);
    const images = await transposedTimes(left);
    if (pass === iterations) return withinSpan(left, images);
    range = orthonormal(images, random);
  }
}

/** The triplets of Q Qᵀ W, for Q of orthonormal columns (given as a list of them) and Qᵀ W. */
function withinSpan(
  span: readonly Float64Array[],
  images: readonly Float64Array[],
): SingularTriplets {
  const gram = new Matrix(productsOfPairs(images));
  const { values: squares, vectors } = eigenpairs(gram);
  const values = squares.map((square) => Math.sqrt(Math.max(0, square)));
  const right = combine(images, vectors).map((vector, i) =>
    vector.map((x) => (values[i]! > 0 ? x / values[i]! : 0)),
  );
  return { values, left: combine(span, vectors), right };
}
