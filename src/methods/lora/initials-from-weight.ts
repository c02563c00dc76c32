// First values of LoRA's matrices that are made of the frozen weight: leading parts of it, its smallest
// directions, or what quantisation took from it.

import { TunesmithError } from "../../errors.ts";
import type { DenseMatrix } from "../../runtime/linear-algebra/dense-matrix.ts";
import { leadingQr } from "../../runtime/linear-algebra/qr.ts";
import {
  leadingTriplets,
  type SingularTriplets,
  sampledTriplets,
  trailingVectors,
} from "../../runtime/linear-algebra/singular-vectors.ts";
import type { Random } from "../../runtime/random.ts";
import type { ParameterSpec } from "../method.ts";
import type { LinearModule } from "../targets.ts";

/** A module that gets matrices. */
export interface InitialSite extends LinearModule {
  readonly rank: number;
  readonly scaling: number;
}

export type Initial = ParameterSpec["initial"];

/** The first values of both matrices. */
export interface FactorInitials {
  /** A, [rank, in]. */
  readonly a: Initial;
  /** B, [out, rank]. */
  readonly b: Initial;
}

/** The leading part of W = Q R (OLoRA). @throws as `fromBase` */
export const leadingRows = (site: InitialSite): FactorInitials =>
  fromBase(site, (weight, random) => {
    const { q, r } = leadingQr(weight, site.rank, random);
    return { columns: q, rows: r };
  });

/** The leading singular triplets of W (PiSSA). @throws as `fromBase` */
export const leadingPart = (site: InitialSite): FactorInitials =>
  fromBase(site, (weight, random) =>
    equalShares(leadingTriplets(weight, site.rank, random), site.scaling),
  );

/** The same, approximately, in so many iterations. @throws as `fromBase` */
export const sampledPart = (site: InitialSite, iterations: number): FactorInitials =>
  fromBase(site, async (weight, random) =>
    equalShares(await sampledTriplets(weight, site.rank, iterations, random), site.scaling),
  );

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
  site: InitialSite,
  factorize: (weight: DenseMatrix, random: Random) => Factors | Promise<Factors>,
): FactorInitials {
  const { path, weight: name, inputSize, outputSize } = site;
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
export function residualInitials(site: InitialSite): FactorInitials {
  const { weight: name, rank, scaling, inputSize, outputSize } = site;
  return fromFactors(site, async (random, base, _, published) => {
    const [data, kept] = [await published(name), await base(name)];
    for (let i = 0; i < data.length; i++) data[i]! -= kept[i]!;
    const lost = { data, rows: outputSize, columns: inputSize };
    return equalShares(leadingTriplets(lost, rank, random), scaling);
  });
}

/** A and B of one decomposition. */
function fromFactors(
  { path, rank, inputSize, outputSize }: InitialSite,
  factorize: (...from: Parameters<Initial>) => Promise<Factors>,
): FactorInitials {
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
export function minorInitials(site: InitialSite): FactorInitials {
  const { path, weight, kind, rank, inputSize, outputSize } = site;
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
