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

/** The products of `vector` with each of `others`: four sums share what is read of it. */
export function dots(vector: Float64Array, others: readonly Float64Array[]): Float64Array {
  const products = new Float64Array(others.length);
  const whole = others.length - (others.length % 4);
  for (let k = 0; k < whole; k += 4) {
    const [a, b, c, d] = [others[k]!, others[k + 1]!, others[k + 2]!, others[k + 3]!];
    let [s0, s1, s2, s3] = [0, 0, 0, 0];
    for (let i = 0; i < vector.length; i++) {
      const x = vector[i]!;
      s0 += x * a[i]!;
      s1 += x * b[i]!;
      s2 += x * c[i]!;
      s3 += x * d[i]!;
    }
    products.set([s0, s1, s2, s3], k);
  }
  for (let k = whole; k < others.length; k++) products[k] = dot(vector, others[k]!);
  return products;
}

/** target += Σ factors[k] · vectors[k], of as many vectors as there are factors; four share a pass over the target. */
export function addCombination(
  target: Float64Array,
  vectors: readonly Float64Array[],
  factors: ArrayLike<number>,
): void {
  const whole = factors.length - (factors.length % 4);
  for (let k = 0; k < whole; k += 4) {
    const [a, b, c, d] = [vectors[k]!, vectors[k + 1]!, vectors[k + 2]!, vectors[k + 3]!];
    const [f0, f1, f2, f3] = [factors[k]!, factors[k + 1]!, factors[k + 2]!, factors[k + 3]!];
    for (let i = 0; i < target.length; i++)
      target[i]! += f0 * a[i]! + f1 * b[i]! + (f2 * c[i]! + f3 * d[i]!);
  }
  for (let k = whole; k < factors.length; k++) {
    const [vector, factor] = [vectors[k]!, factors[k]!];
    for (let i = 0; i < target.length; i++) target[i]! += factor * vector[i]!;
  }
}

/** For each list of coefficients, the sum of the vectors times them. */
export function combine(
  vectors: readonly Float64Array[],
  coefficients: readonly (readonly number[])[],
): Float64Array[] {
  return coefficients.map((list) => {
    const sum = new Float64Array(vectors[0]!.length);
    addCombination(sum, vectors, list);
    return sum;
  });
}

/** A vector of normal numbers. */
export const normals = (length: number, random: Random): Float64Array =>
  Float64Array.from({ length }, () => random.normal());

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
  for (let pass = 0; pass < 2; pass++) {
    const products = dots(vector, basis);
    addCombination(
      vector,
      basis,
      products.map((product) => -product),
    );
    addCombination(overlaps, [products], [1]);
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
