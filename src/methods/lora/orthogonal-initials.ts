// LoRA's matrices from a random orthogonal matrix: neither is zero, and what they add is.

import { TunesmithError } from "../../errors.ts";
import { appendOrthonormal, normals } from "../../runtime/linear-algebra/vectors.ts";
import type { Random } from "../../runtime/random.ts";
import type { FactorInitials, InitialSite } from "./initials-from-weight.ts";

/**
 * With Q a random orthogonal matrix, A lies in the span of its even rows and B in that of its odd
 * ones, so that B A is zero although neither factor is.
 *
 * @throws TunesmithError (config) for an odd rank
 */
export function orthogonalInitials(site: InitialSite): FactorInitials {
  const { path, rank, inputSize, outputSize } = site;
  if (rank % 2 !== 0)
    throw new TunesmithError("config", {
      where: "method.init",
      rule: "orthogonal initialisation needs an even rank",
      seen: `rank ${rank} at ${path}`,
      fix: `use rank ${rank + 1}`,
    });
  const half = rank / 2;
  // A and B are made apart from each other, from the same Q.
  const rows = (random: Random) => orthogonalMatrix(rank, random.fork(`${path} Q`));
  return {
    a: async (random) => {
      const q = rows(random);
      const mix = random.fork(`${path} A`);
      const a = new Float32Array(rank * inputSize);
      for (let i = 0; i < inputSize; i++)
        for (let h = 0; h < half; h++) {
          const weight = mix.normal() / 10;
          for (let r = 0; r < rank; r++) a[r * inputSize + i]! += weight * q[2 * h]![r]!;
        }
      return a;
    },
    b: async (random) => {
      const q = rows(random);
      const mix = random.fork(`${path} B`);
      const b = new Float32Array(outputSize * rank);
      for (let out = 0; out < outputSize; out++)
        for (let h = 0; h < half; h++) {
          const weight = mix.normal() / 10;
          for (let r = 0; r < rank; r++) b[out * rank + r]! += weight * q[2 * h + 1]![r]!;
        }
      return b;
    },
  };
}

/** Rows of a random orthogonal matrix. */
function orthogonalMatrix(size: number, random: Random): Float64Array[] {
  const rows: Float64Array[] = [];
  for (let i = 0; i < size; i++) appendOrthonormal(rows, normals(size, random), random);
  return rows;
}
