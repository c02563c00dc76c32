// First values of LoRA's matrices, as PEFT's `init_lora_weights` names them
// (`peft/tuners/lora/layer.py`); those of "eva" come from data (eva.ts). Where they are a part of the frozen weight
// (`startsAsPartOfBase`), that part is taken out of it, and the model starts out as it was.

import { TunesmithError } from "../../errors.ts";
import type { DenseMatrix } from "../../runtime/linear-algebra/dense-matrix.ts";
import { leadingQr } from "../../runtime/linear-algebra/qr.ts";
import {
  leadingTriplets,
  type SingularTriplets,
  sampledTriplets,
  trailingVectors,
} from "../../runtime/linear-algebra/singular-vectors.ts";
import { appendOrthonormal, normals } from "../../runtime/linear-algebra/vectors.ts";
import type { Random } from "../../runtime/random.ts";
import type { ParameterSpec } from "../method.ts";
import type { LinearModule } from "../targets.ts";

/**
 * `true` is PEFT's default, `false` its debugging aid where B is not zero either. "mica" gives B the
 * singular vectors of the smallest singular values of W, for good: A alone is trained. "loftq" starts from the
 * leading part of what quantisation took from W. "eva" looks at the inputs of the layers. "olora" starts from the leading part of W = Q R, "pissa" from the leading singular triplets of W, and
 * "pissa_niter_N" from an approximation of them in N iterations.
 */
export type LoraInit =
  | boolean
  | "gaussian"
  | "orthogonal"
  | "olora"
  | "mica"
  | "loftq"
  | "eva"
  | "pissa"
  | `pissa_niter_${number}`;

/** Whether an initialisation takes s · B A away from the frozen weights. */
export const startsAsPartOfBase = (init: LoraInit): boolean =>
  typeof init === "string" && (init === "olora" || init.startsWith("pissa"));

interface Site extends LinearModule {
  readonly rank: number;
  readonly scaling: number;
}

type Initial = ParameterSpec["initial"];

interface Initials {
  /** A, [rank, in]. */
  readonly a: Initial;
  /** B, [out, rank]. */
  readonly b: Initial;
  /** What B adds besides, [out]. */
  readonly bias: Initial;
}

const draw = (length: number, next: () => number): Float32Array =>
  Float32Array.from({ length }, next);

const uniform = (length: number, bound: number, random: Random): Float32Array =>
  draw(length, () => (2 * random.uniform() - 1) * bound);

/** @throws TunesmithError (config) for an initialisation that the module cannot have */
export function loraInitials(init: LoraInit, site: Site): Initials {
  const { path, rank, outputSize } = site;
  // PyTorch's default for a linear layer that keeps its bias; every other start has none.
  const bias: Initial = async (random) =>
    init === false
      ? uniform(outputSize, 1 / Math.sqrt(rank), random.fork(`${path} bias`))
      : new Float32Array(outputSize);
  const start = site.kind === "embedding" ? embeddingInitials : linearInitials;
  return { ...start(init, site), bias };
}

/** A is zero and B normal, the other way round than elsewhere; no start is a part of the base. */
function embeddingInitials(init: LoraInit, site: Site): Omit<Initials, "bias"> {
  const { path, rank, inputSize, outputSize } = site;
  if (init === "mica") return minorInitials(site);
  const normal = (name: string, size: number): Initial => {
    return async (random) => {
      const stream = random.fork(`${path} ${name}`);
      return draw(size, () => stream.normal());
    };
  };
  return {
    a:
      init === false
        ? normal("A", rank * inputSize)
        : async () => new Float32Array(rank * inputSize),
    b: normal("B", outputSize * rank),
  };
}

function linearInitials(init: LoraInit, site: Site): Omit<Initials, "bias"> {
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
    case "eva":
      return { a: async () => Promise.reject(needsData(path)), b: zero };
    case "orthogonal":
      return orthogonalInitials(site);
    case "mica":
      return minorInitials(site);
    case "loftq":
      // Only the layers' weights are quantised.
      return site.kind === "linear" ? residualInitials(site) : linearInitials(true, site);
    case "olora":
      return fromBase(site, (weight, random) => {
        const { q, r } = leadingQr(weight, rank, random);
        return { columns: q, rows: r };
      });
    case "pissa":
      return fromBase(site, (weight, random) =>
        equalShares(leadingTriplets(weight, rank, random), site.scaling),
      );
    default: {
      const iterations = iterationsOf(init);
      return fromBase(site, async (weight, random) =>
        equalShares(await sampledTriplets(weight, rank, iterations, random), site.scaling),
      );
    }
  }
}

const needsData = (path: string) =>
  new TunesmithError("config", {
    where: "method.init",
    rule: "eva makes first values of data",
    seen: `no data for ${path}`,
    fix: "pass the batches it is to look at (loadModel's `data`), or train by a recipe",
  });

/** The N of "pissa_niter_N". @throws TunesmithError (config) for a name that is no initialisation */
function iterationsOf(init: string): number {
  const digits = /^pissa_niter_(\d+)$/.exec(init)?.[1];
  if (digits !== undefined) return Number(digits);
  throw new TunesmithError("config", {
    where: "method.init",
    rule: "names an initialisation: true, false, gaussian, orthogonal, olora, mica, loftq, eva, pissa, pissa_niter_16",
    seen: JSON.stringify(init),
    fix: "use true, or pissa_niter_ with a number of iterations",
  });
}

/** @throws TunesmithError (config) for a rank that the weight cannot have */
function checkRank({ path, rank, inputSize, outputSize }: Site): void {
  const largest = Math.min(inputSize, outputSize);
  if (rank <= largest) return;
  throw new TunesmithError("config", {
    where: "method.init",
    rule: "an adapter that starts from its weight has at most the weight's own rank",
    seen: `rank ${rank} at ${path}, a weight of shape [${outputSize}, ${inputSize}]`,
    fix: `use rank ${largest} or less there (method.rankPattern), or init: true`,
  });
}

/** Columns of B and rows of A. */
interface Factors {
  readonly columns: readonly Float64Array[];
  readonly rows: readonly Float64Array[];
}

/** A and B carry the square roots of the singular values, divided by the scaling that B A gets. */
function equalShares({ values, left, right }: SingularTriplets, scaling: number): Factors {
  const scaled = (vectors: readonly Float64Array[]) =>
    vectors.map((vector, i) => {
      const share = Math.sqrt(values[i]! / scaling);
      return vector.map((x) => x * share);
    });
  return { columns: scaled(left), rows: scaled(right) };
}

/** @throws TunesmithError (config) for a rank or a weight that does not fit */
function fromBase(
  site: Site,
  factorize: (weight: DenseMatrix, random: Random) => Factors | Promise<Factors>,
): Omit<Initials, "bias"> {
  const { path, weight: name, inputSize, outputSize } = site;
  checkRank(site);
  if (name !== `${path}.weight`)
    throw new TunesmithError("config", {
      where: "method.init",
      rule: "an adapter that starts as a part of its weight has that weight for itself",
      seen: `${path} shares ${name}`,
      fix: `use init: true, or leave ${path} out of the targets`,
    });
  return fromFactors(site, async (random, base) =>
    factorize({ data: await base(name), rows: outputSize, columns: inputSize }, random),
  );
}

/** The leading part of what quantisation took from W (Li et al. 2023, one iteration). */
function residualInitials(site: Site): Omit<Initials, "bias"> {
  const { path, weight: name, rank, scaling, inputSize, outputSize } = site;
  checkRank(site);
  return fromFactors(site, async (random, base, _, published) => {
    const [data, kept] = [await published(name), await base(name)];
    let isQuantized = false;
    for (let i = 0; i < data.length; i++) {
      data[i]! -= kept[i]!;
      isQuantized ||= data[i] !== 0;
    }
    if (!isQuantized)
      throw new TunesmithError("config", {
        where: "method.init",
        rule: "loftq starts from what quantisation takes from the weights as they were published",
        seen: `${path}, of which it takes nothing`,
        fix: "use method qlora on a checkpoint that is not quantised yet, or init: true",
      });
    const lost = { data, rows: outputSize, columns: inputSize };
    return equalShares(leadingTriplets(lost, rank, random), scaling);
  });
}

/** A and B of one decomposition. */
function fromFactors(
  { path, rank, inputSize, outputSize }: Site,
  factorize: (...from: Parameters<Initial>) => Promise<Factors>,
): Omit<Initials, "bias"> {
  // A and B are asked for one after the other, with the same stream: one decomposition serves both.
  const found = new WeakMap<Random, Promise<Factors>>();
  const factors = (...[random, ...sources]: Parameters<Initial>): Promise<Factors> => {
    const known = found.get(random);
    if (known) return known;
    const promise = factorize(random.fork(`${path} start`), ...sources);
    found.set(random, promise);
    return promise;
  };
  return {
    async a(...from) {
      const { rows } = await factors(...from);
      const a = new Float32Array(rank * inputSize);
      rows.forEach((row, r) => {
        a.set(row, r * inputSize);
      });
      return a;
    },
    async b(...from) {
      const { columns } = await factors(...from);
      found.delete(from[0]); // the factors are as large as A and B, in double precision
      return besideOneAnother(columns, outputSize);
    },
  };
}

/** Vectors of length `rows` as the columns of a matrix [rows, vectors]. */
function besideOneAnother(columns: readonly Float64Array[], rows: number): Float32Array {
  const count = columns.length;
  return Float32Array.from(
    { length: rows * count },
    (_, i) => columns[i % count]![Math.floor(i / count)]!,
  );
}

/** A zero, B the left singular vectors of the smallest singular values (MiCA, PEFT's `mica_init`). */
function minorInitials(site: Site): Omit<Initials, "bias"> {
  const { path, weight, kind, rank, inputSize, outputSize } = site;
  checkRank(site);
  return {
    a: async () => new Float32Array(rank * inputSize),
    b: async (random, base) => {
      const data = await base(weight);
      const [rows, columns] =
        kind === "embedding" ? [inputSize, outputSize] : [outputSize, inputSize];
      const side = kind === "embedding" ? "right" : "left";
      const stream = random.fork(`${path} start`);
      const vectors = trailingVectors({ data, rows, columns }, rank, side, stream);
      return besideOneAnother(vectors, outputSize);
    },
  };
}

/**
 * With Q a random orthogonal matrix, A lies in the span of its even rows and B in that of its odd
 * ones, so that B A is zero although neither factor is.
 */
function orthogonalInitials(site: Site): Omit<Initials, "bias"> {
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
