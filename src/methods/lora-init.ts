// First values of LoRA's matrices, as PEFT's `init_lora_weights` names them
// (`peft/tuners/lora/layer.py`): those that need neither data nor the frozen weight.

import { TunesmithError } from "../errors.ts";
import type { Random } from "../runtime/random.ts";
import type { ParameterSpec } from "./method.ts";
import type { LinearModule } from "./targets.ts";

/** `true` is PEFT's default, `false` its debugging aid where B is not zero either. */
export type LoraInit = boolean | "gaussian" | "orthogonal";

interface Site extends LinearModule {
  readonly rank: number;
}

type Initial = ParameterSpec["initial"];

interface Initials {
  /** A, [rank, in]. */
  readonly a: Initial;
  /** B, [out, rank]. */
  readonly b: Initial;
}

const draw = (length: number, next: () => number): Float32Array =>
  Float32Array.from({ length }, next);

const uniform = (length: number, bound: number, random: Random): Float32Array =>
  draw(length, () => (2 * random.uniform() - 1) * bound);

export function loraInitials(init: LoraInit, site: Site): Initials {
  const { path, rank, inputSize, outputSize } = site;
  // Kaiming-uniform with a = sqrt(5), PyTorch's default for a linear layer.
  const a: Initial = async (random) =>
    uniform(rank * inputSize, 1 / Math.sqrt(inputSize), random.fork(`${path} A`));
  const zero: Initial = async () => new Float32Array(outputSize * rank);
  switch (init) {
    case true:
      return { a, b: zero };
    case false:
      return {
        a,
        b: async (random) =>
          uniform(outputSize * rank, 1 / Math.sqrt(rank), random.fork(`${path} B`)),
      };
    case "gaussian":
      return {
        a: async (random) => {
          const stream = random.fork(`${path} A`);
          return draw(rank * inputSize, () => stream.normal() / rank);
        },
        b: zero,
      };
    case "orthogonal":
      return orthogonalInitials(site);
  }
}

/**
 * With Q a random orthogonal matrix, A lies in the span of its even rows and B in that of its odd
 * ones, so that B A is zero although neither factor is.
 */
function orthogonalInitials({ path, rank, inputSize, outputSize }: Site): Initials {
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

/** Rows of a random orthogonal matrix: Gram-Schmidt on normal draws, twice for accuracy. */
function orthogonalMatrix(size: number, random: Random): Float64Array[] {
  const rows: Float64Array[] = [];
  for (let i = 0; i < size; i++) {
    const row = Float64Array.from({ length: size }, () => random.normal());
    for (let pass = 0; pass < 2; pass++)
      for (const other of rows) {
        const overlap = row.reduce((total, value, j) => total + value * other[j]!, 0);
        for (let j = 0; j < size; j++) row[j]! -= overlap * other[j]!;
      }
    const norm = Math.hypot(...row);
    rows.push(row.map((value) => value / norm));
  }
  return rows;
}
