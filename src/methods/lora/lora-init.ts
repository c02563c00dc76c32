// First values of LoRA's matrices, as PEFT's `init_lora_weights` names them (`peft/tuners/lora/layer.py`);
// those of "eva" come from data (eva.ts). Where they are a part of the frozen weight
// (`startsAsPartOfBase`), that part is taken out of it, and the model starts out as it was.

import { TunesmithError } from "../../errors.ts";
import type { Random } from "../../runtime/random.ts";
import {
  type FactorInitials,
  type Initial,
  type InitialSite,
  leadingPart,
  leadingRows,
  minorInitials,
  residualInitials,
  sampledPart,
} from "./initials-from-weight.ts";
import { orthogonalInitials } from "./orthogonal-initials.ts";

/**
 * `true` is PEFT's default, `false` its debugging aid where B is not zero either. "mica" gives B the
 * singular vectors of the smallest singular values of W, for good: A alone is trained. "loftq" starts from
 * the leading part of what quantisation took from W. "eva" looks at the inputs of the layers. "olora" starts
 * from the leading part of W = Q R, "pissa" from the leading singular triplets of W, and "pissa_niter_N"
 * from an approximation of them in N iterations.
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

/** Whether first values are parts of a matrix of the weight's shape, which has no more than its rank. */
export const isMadeOfWeight = (init: LoraInit): boolean =>
  startsAsPartOfBase(init) || init === "mica" || init === "loftq";

interface Initials extends FactorInitials {
  /** What B adds besides, [out]. */
  readonly bias: Initial;
}

const draw = (length: number, next: () => number): Float32Array =>
  Float32Array.from({ length }, next);

const uniform = (length: number, bound: number, random: Random): Float32Array =>
  draw(length, () => (2 * random.uniform() - 1) * bound);

/** @throws TunesmithError (config) for an initialisation that the module cannot have */
export function loraInitials(init: LoraInit, site: InitialSite): Initials {
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
function embeddingInitials(init: LoraInit, site: InitialSite): FactorInitials {
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

function linearInitials(init: LoraInit, site: InitialSite): FactorInitials {
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
      return leadingRows(site);
    case "pissa":
      return leadingPart(site);
    default:
      return sampledPart(site, iterationsOf(init));
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
