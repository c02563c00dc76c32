// Eigenvectors of symmetric matrices: all of a small one, the leading ones of an operator that is known by
// its products alone.

import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import type { Random } from "../random.ts";
import { appendOrthonormal, combine, normals } from "./vectors.ts";

/** How far leading eigenvectors may be from being that, as a share of the value. */
const TOLERANCE = 1e-9;
/** What cannot be told from zero, as a share of the largest value. */
export const ROUNDING = 1e-14;
/** Enough for spectra that fall by a tenth of a percent from one value to the next. */
const MOST_RESTARTS = 100;

/**
 * The `count` leading eigenvectors of a symmetric operator without negative values, by the Lanczos
 * process with full orthogonalisation and thick restarts (Wu and Simon 2000).
 */
export function leadingEigenvectors(
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

/** Eigenvalues and eigenvectors of a small symmetric matrix, the largest value first. */
export function eigenpairs(matrix: Matrix): { values: number[]; vectors: number[][] } {
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
