// Vectors in double precision, and orthonormal lists of them.

import type { Random } from "../random.ts";

/** a · b. Sums in four parts, because an addition that waits for the last one costs four times as much. */
export function dot(a: Float64Array, b: Float64Array): number {
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

/** For each list of coefficients, the sum of the vectors times them. */
export function combine(
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

/** A vector of normal numbers. */
export const normals = (length: number, random: Random): Float64Array =>
  Float64Array.from({ length }, () => random.normal());

/** An orthonormal basis of what vectors span, and random ones where one depends on those before it. */
export function orthonormal(vectors: readonly Float64Array[], random: Random): Float64Array[] {
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
