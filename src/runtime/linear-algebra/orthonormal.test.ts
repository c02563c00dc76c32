// Bases against what makes them one: unit products, and the span of each first few vectors.

import { describe, expect, it } from "vitest";
import { createRandom } from "../random.ts";
import { orthonormal, productsOfPairs } from "./orthonormal.ts";
import { dot, normals } from "./vectors.ts";

const random = createRandom(3);

/** 7 vectors of 50 numbers; each is the sum of those before it and a share of a direction of its own. */
function vectorsWith(share: number): Float64Array[] {
  const sum = normals(50, random);
  return Array.from({ length: 7 }, () => {
    const own = normals(50, random);
    return sum.map((_, i) => (sum[i]! += share * own[i]!));
  });
}

const farthestFromBasis = (basis: Float64Array[]) =>
  Math.max(
    ...productsOfPairs(basis).flatMap((row, i) => row.map((x, j) => Math.abs(x - Number(i === j)))),
  );

describe("orthonormal", () => {
  // Once suffices for the first, the second is repeated, and Gram-Schmidt has the others.
  it.each([1, 1e-3, 1e-6, 1e-11])("makes a basis of vectors that differ by %s", (share) => {
    const vectors = vectorsWith(share);
    const given = vectors.map((vector) => vector.slice());
    const basis = orthonormal(vectors, random);
    expect(farthestFromBasis(basis)).toBeLessThan(1e-13);
    given.forEach((vector, k) => {
      const length = Math.sqrt(dot(vector, vector));
      const inside = basis.slice(0, k + 1).reduce((sum, b) => sum + dot(b, vector) ** 2, 0);
      expect(inside / length ** 2).toBeCloseTo(1, 13);
      expect(dot(basis[k]!, vector)).toBeGreaterThan(0);
    });
  });

  it("takes a direction at random where a vector has none of its own, or is nothing", () => {
    const [a, b] = [normals(50, random), normals(50, random)];
    const vectors = [a, b, a.map((x, i) => 2 * x - b[i]!), new Float64Array(50)];
    expect(farthestFromBasis(orthonormal(vectors, random))).toBeLessThan(1e-13);
  });
});

it("multiplies every pair once", () => {
  const vectors = Array.from({ length: 7 }, () => normals(50, random));
  const products = productsOfPairs(vectors);
  vectors.forEach((a, i) => {
    vectors.forEach((b, j) => {
      expect(products[i]![j]).toBeCloseTo(dot(a, b), 12);
    });
  });
});
