// What images add to a run: their squares go through the encoder, once each where nothing of it is trained, else
// in every step and back. In the terms of `estimate.ts`, of shapes alone.

import type { ImageCounts } from "../data/index.ts";
import { reachesWeights } from "../engine/images.ts";
import { KEPT_BYTES } from "../engine/kept-states.ts";
import type { BoundMethod } from "../methods/index.ts";
import type { BoundArchitecture, ImageEncoder } from "../models/index.ts";
import { sizeOf } from "../tensor/index.ts";
import type { MemoryTerm } from "./estimate.ts";

export interface ImageEstimateInput {
  readonly architecture: BoundArchitecture;
  readonly method: BoundMethod;
  readonly counts: ImageCounts;
  /** Samples that were counted, and those of a micro-batch and of the whole run. */
  readonly samples: number;
  readonly rows: number;
  readonly runSamples: number;
  readonly memory: "fast" | "lean";
  /** Whether the counts are of first records alone: how many files there are is then not known. */
  readonly streaming: boolean;
}

export interface ImageEstimate {
  /** How often a square goes through the encoder in the whole run. */
  readonly encodings: number;
  /** Why it is so many. */
  readonly why: string;
  readonly memory: readonly MemoryTerm[];
  readonly floatingPointOperations: number;
}

const FLOAT = 4;

export function estimateImages(images: ImageEncoder, given: ImageEstimateInput): ImageEstimate {
  const { architecture, method, counts, samples, rows, runSamples, memory, streaming } = given;
  const { hiddenSize } = architecture.dimensions;
  const { dimensions, weights, blocks } = images.stack;
  const patches = images.positions(counts.side, counts.side).length;
  const squareStates = images.rowCount(patches) * hiddenSize * FLOAT;
  const isTrained = reachesWeights(weights, method);
  const isKept = !isTrained && !streaming && counts.fileSquares * squareStates <= KEPT_BYTES;

  const inRun = (counts.squares / samples) * runSamples;
  const encodings = isKept ? Math.min(counts.fileSquares, inRun) : inRun;
  const why = isTrained
    ? "in every step, forward and back: the method reaches the encoder"
    : isKept
      ? "once each: nothing of the encoder is trained"
      : streaming
        ? "as often as they come: a stream does not tell how many differ"
        : "in every epoch: their rows are more than are kept";

  const inBlocks = (name: string) => blocks.some(({ block }) => name.startsWith(`${block}.`));
  const linears = weights.filter(({ role }) => role === "linear");
  const outputs = linears.filter(({ name }) => inBlocks(name));
  const outputSizes = outputs.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const ofSquare = squareOperations(images, patches);
  // As of texts: forward and back, forward once more where it is made again, and for what is trained itself.
  const passes = isTrained ? (memory === "fast" ? 2 : 3) : 1;
  const replaced = weights
    .filter(({ name }) => method.replaces.has(name))
    .reduce((sum, { shape }) => sum + sizeOf(shape), 0);

  const squaresAtOnce = rows * counts.sampleSquares;
  const scores = dimensions.heads * patches * patches;
  const saved = dimensions.hiddenSize * dimensions.layers + (memory === "fast" ? outputSizes : 0);
  const states = patches * (outputSizes / dimensions.layers + 2 * dimensions.hiddenSize);
  return {
    encodings,
    why,
    floatingPointOperations: encodings * (passes * ofSquare + 2 * replaced * patches),
    memory: [
      {
        name: "image rows that are kept",
        bytes: isTrained ? 0 : Math.min(KEPT_BYTES, counts.fileSquares * squareStates),
      },
      {
        name: "pixels of an image",
        bytes: counts.sampleSquares * images.channels * counts.side ** 2 * FLOAT,
      },
      {
        name: "images saved for the backward pass",
        bytes: isTrained ? squaresAtOnce * patches * saved * FLOAT : 0,
      },
      {
        // All patches see all: what is made of scores on the way there and back outweighs the rest.
        name: "one block of the encoder at work",
        bytes: (isTrained ? 2 * states + 4 * scores : states + 3 * scores) * FLOAT,
      },
    ],
  };
}

/**
 * Multiplications and additions of one square, forward: products of patches in the blocks, scores of all
 * with all, the patches' own embedding, and what takes rows to the decoder.
 */
function squareOperations({ stack, rowCount }: ImageEncoder, patches: number): number {
  const { dimensions, weights, blocks } = stack;
  const { layers, heads, headSize } = dimensions;
  const products = weights.reduce((sum, { name, role, shape }) => {
    if (role !== "linear") return shape.length > 2 ? sum + patches * sizeOf(shape) : sum;
    const isOfPatches = blocks.some(({ block }) => name.startsWith(`${block}.`));
    return sum + (isOfPatches ? patches : rowCount(patches)) * sizeOf(shape);
  }, 0);
  return 2 * products + 4 * layers * heads * headSize * patches ** 2;
}
