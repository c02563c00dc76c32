// What stands around a decoder's blocks, for architectures that have nothing of their own there: an embedding
// in front, a norm and the output matrix behind, the latter tied or not.

import { rmsNorm, type Tensor } from "../tensor/index.ts";
import type { Architecture, Dimensions, Scope, WeightSpec } from "./architecture.ts";
import { normWeight } from "./block-norms.ts";
import { layerNorm, layerNormWeights } from "./layer-norm.ts";
import { rotaryTables } from "./rope.ts";
import type { RopeConfig } from "./rope-config.ts";

/** What a config says about it. */
export interface AroundConfig extends Dimensions {
  readonly normEpsilon: number;
  readonly tiedHead: boolean;
  /** Absent where nothing is rotated. */
  readonly rope?: RopeConfig;
}

/** What one architecture has there. */
export interface Around<Config> {
  /** The embedding's weight. */
  readonly embedding: string;
  /** Modules behind the last block. */
  readonly finalNorm: string;
  readonly output: string;
  /** Default: a layer norm. */
  readonly isRmsNorm?: true;
  blockWeights(config: Config, layer: number): WeightSpec[];
  /** Weights that are in no block and that not every decoder has. */
  furtherWeights?(config: Config): WeightSpec[];
}

type AroundParts =
  | "dimensions"
  | "weights"
  | "finalNorm"
  | "embeddingName"
  | "outputPath"
  | "outputName"
  | "rotaryTables";

/** Those parts of an architecture. */
export const aroundBlocks = <Config extends AroundConfig>(
  around: Around<Config>,
): Pick<Architecture<Config>, AroundParts> => ({
  dimensions: (config) => config,

  weights(config) {
    const { layers, hiddenSize, vocabularySize, tiedHead } = config;
    const matrix = [vocabularySize, hiddenSize];
    const output: WeightSpec = { name: `${around.output}.weight`, shape: matrix, role: "output" };
    return [
      { name: around.embedding, shape: matrix, role: "embedding" },
      ...Array.from({ length: layers }, (_, layer) => around.blockWeights(config, layer)).flat(),
      ...(around.isRmsNorm
        ? [normWeight(around.finalNorm, hiddenSize)]
        : layerNormWeights(around.finalNorm, hiddenSize)),
      ...(tiedHead ? [] : [output]),
      ...(around.furtherWeights?.(config) ?? []),
    ];
  },

  finalNorm: ({ normEpsilon }, x: Tensor, scope: Scope) =>
    around.isRmsNorm
      ? rmsNorm(x, scope.weight(`${around.finalNorm}.weight`), normEpsilon)
      : layerNorm(around.finalNorm, x, normEpsilon, scope),

  embeddingName: around.embedding,
  outputPath: around.output,
  outputName: ({ tiedHead }) => (tiedHead ? around.embedding : `${around.output}.weight`),
  rotaryTables: ({ rope }, length) =>
    rope ? rotaryTables(rope, length) : { cosines: new Float32Array(), sines: new Float32Array() },
});
