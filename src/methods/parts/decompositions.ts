// Parts of a weight's QR and singular value decomposition, in double precision. A few
// vectors of a large matrix are wanted, which costs a few products with it and no copy of it. Only
// exactly rounded operations are used: every machine finds the same numbers.

import { CholeskyDecomposition, EigenvalueDecomposition, Matrix } from "ml-matrix";
import type { Random } from "../../runtime/random.ts";

/** A weight, [rows, columns], row after row. */
export interface DenseMatrix {
  readonly data: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

/** W ≈ Σ values[i] · left[i] right[i]ᵀ, the largest value first. */
export interface SingularTriplets {
  readonly values: readonly number[];
  /** Of length rows, orthonormal. */
  readonly left: readonly Float64Array[];
  /** Of length columns; orthonormal, zero where the value is zero. */
  readonly right: readonly Float64Array[];
}

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

/** How far leading eigenvectors may be from being that, as a share of the value. */
const TOLERANCE = 1e-9;
/** What cannot be told from zero, as a share of the largest value. */
const ROUNDING = 1e-14;
/** Enough for spectra that fall by a tenth of a percent from one value to the next. */
const MOST_RESTARTS = 100;

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
  const square = Matrix.zeros(lines.length, lines.length);
  lines.forEach((line, i) => {
    for (let j = 0; j <= i; j++) {
      const overlap = dot(line, lines[j]!);
      square.set(i, j, overlap).set(j, i, overlap);
    }
  });
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
 * The `count` leading eigenvectors of a symmetric operator without negative values, by the Lanczos
 * process with full orthogonalisation and thick restarts (Wu and Simon 2000).
 */
function leadingEigenvectors(
  length: number,
  apply: (vector: Float64Array) => Float64Array,
  count: number,
  random: Random,
): Float64Array[] {
  const size = Math.min(length, 2 * count + 32);
  const kept = Math.min(length, count + 12);
  // The basis has one vector more than `projected`, which holds ⟨basis[i], operator · basis[j]⟩.
  let basis: Float64Array[] = [];
  let projected = Matrix.zeros(size, size);
  let filled = 0;
  appendOrthonormal(basis, normals(length, random), random);
  for (let restart = 0; ; restart++) {
    let remainder = 0;
    for (; filled < size; filled++) {
      const { overlaps, length: left } = appendOrthonormal(basis, apply(basis[filled]!), random);
      overlaps.forEach((overlap, i) => {
        projected.set(i, filled, overlap).set(filled, i, overlap);
      });
      remainder = left;
    }
    const { values, vectors } = eigenpairs(projected);
    const leading = combine(basis, vectors.slice(0, kept));
    const distances = vectors.slice(0, count).map((vector) => remainder * Math.abs(vector.at(-1)!));
    const found = distances.every(
      (distance, i) => distance <= TOLERANCE * values[i]! + ROUNDING * values[0]!,
    );
    if (found || restart === MOST_RESTARTS) return leading.slice(0, count);

    basis = [...leading, basis[size]!];
    projected = Matrix.zeros(size, size);
    for (let i = 0; i < kept; i++) projected.set(i, i, values[i]!);
    filled = kept;
  }
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
  const gram = new Matrix(images.map((a) => images.map((b) => dot(a, b))));
  const { values: squares, vectors } = eigenpairs(gram);
  const values = squares.map((square) => Math.sqrt(Math.max(0, square)));
  const right = combine(images, vectors).map((vector, i) =>
    vector.map((x) => (values[i]! > 0 ? x / values[i]! : 0)),
  );
  return { values, left: combine(span, vectors), right };
}

/** Eigenvalues and eigenvectors of a small symmetric matrix, the largest value first. */
function eigenpairs(matrix: Matrix): { values: number[]; vectors: number[][] } {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(matrix, {
    assumeSymmetric: true,
  });
  const order = realEigenvalues.map((_, i) => i);
  order.sort((a, b) => realEigenvalues[b]! - realEigenvalues[a]!);
  return {
    values: order.map((i) => realEigenvalues[i]!),
    vectors: order.map((i) => eigenvectorMatrix.getColumn(i)),
  };
}

/** For each list of coefficients, the sum of the vectors times them. */
function combine(
  vectors: readonly Float64Array[],
  coefficients: readonly (readonly number[])[],
): Float64Array[] {
  return coefficients.map((list) => {
    const sum = new Float64Array(vectors[0]!.length);
    list.forEach((factor, i) => {
      addScaled(sum, vectors[i]!, factor);
    });
    return sum;
  });
}

export const normals = (length: number, random: Random): Float64Array =>
  Float64Array.from({ length }, () => random.normal());

function orthonormal(vectors: readonly Float64Array[], random: Random): Float64Array[] {
  const basis: Float64Array[] = [];
  for (const vector of vectors) appendOrthonormal(basis, vector, random);
  return basis;
}

/** What is left of a vector is rounding if it is smaller than this, as a share of the vector. */
const NEGLIGIBLE = 1e-13;

/**
 * Appends to an orthonormal basis the direction in which `vector` leaves its span: Gram-Schmidt,
 * twice for accuracy. `vector` is overwritten. Where it does not leave the span, a random direction
 * is appended instead, and none where the basis spans everything.
 * @returns the vector's products with the basis as it was, and the length of what was left of it
 */
export function appendOrthonormal(
  basis: Float64Array[],
  vector: Float64Array,
  random: Random,
): { overlaps: Float64Array; length: number } {
  const before = Math.sqrt(dot(vector, vector));
  const overlaps = new Float64Array(basis.length);
  for (let pass = 0; pass < 2; pass++)
    for (let i = 0; i < overlaps.length; i++) {
      const overlap = dot(basis[i]!, vector);
      overlaps[i]! += overlap;
      addScaled(vector, basis[i]!, -overlap);
    }
  const length = Math.sqrt(dot(vector, vector));
  if (length > NEGLIGIBLE * before) {
    basis.push(vector.map((x) => x / length));
    return { overlaps, length };
  }
  if (basis.length < vector.length)
    appendOrthonormal(basis, normals(vector.length, random), random);
  return { overlaps, length: 0 };
}

/** Sums in four parts, because an addition that waits for the last one costs four times as much. */
function dot(a: Float64Array, b: Float64Array): number {
  const whole = a.length - (a.length % 4);
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  for (let i = 0; i < whole; i += 4) {
    s0 += a[i]! * b[i]!;
    s1 += a[i + 1]! * b[i + 1]!;
    s2 += a[i + 2]! * b[i + 2]!;
    s3 += a[i + 3]! * b[i + 3]!;
  }
  for (let i = whole; i < a.length; i++) s0 += a[i]! * b[i]!;
  return s0 + s1 + (s2 + s3);
}

/** target += factor · vector. */
function addScaled(target: Float64Array, vector: Float64Array, factor: number): void {
  for (let i = 0; i < target.length; i++) target[i]! += factor * vector[i]!;
}

/** W x, in four sums as `dot`. */
function product({ data, rows, columns }: DenseMatrix, x: Float64Array): Float64Array {
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
function productTransposed({ data, rows, columns }: DenseMatrix, y: Float64Array): Float64Array {
  const x = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    const start = row * columns;
    const factor = y[row]!;
    for (let i = 0; i < columns; i++) x[i]! += data[start + i]! * factor;
  }
  return x;
}
