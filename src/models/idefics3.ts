// Idefics3 (Laurençon et al. 2024) and SmolVLM (Marafioti et al. 2025): SigLIP looks at an image, squares of its
// patches become one row each (pixel shuffle) and go through one matrix into a LLaMA's tokens. Reference:
// Transformers' `modeling_idefics3`; its `modeling_smolvlm` computes the same.

import { TunesmithError } from "../errors.ts";
import { reshape, type Tensor, transpose } from "../tensor/index.ts";
import type { Architecture, ImageEncoder, WeightSpec } from "./architecture.ts";
import { type ConfigReader, readerFor } from "./config-reader.ts";
import { linearWeights } from "./linear-weights.ts";
import { readLlama } from "./llama.ts";
import { llamaLike } from "./llama-like.ts";
import { patchPositions, readSiglip, type SiglipConfig, siglip } from "./siglip.ts";
import { type DenseConfig, denseSwiglu } from "./swiglu.ts";

interface Idefics3Config extends DenseConfig {
  readonly vision: SiglipConfig;
  readonly imageToken: number;
  /** Patches along a side of the square that becomes one row. */
  readonly shuffle: number;
}

const VISION = "model.vision_model";
const CONNECTOR = "model.connector.modality_projection.proj";

const text = llamaLike<Idefics3Config>({
  modelType: "idefics3",
  base: "model.text_model",
  covers: "Idefics3 and SmolVLM, with images",
  readConfig,
  feedForward: denseSwiglu,
});

function readConfig(reader: ConfigReader): Idefics3Config {
  const section = (key: string) => {
    const found = reader.object(key);
    if (!found && !reader.has(key)) reader.fault(key, "must be an object");
    return found ?? readerFor({});
  };
  const ofText = section("text_config");
  ofText.choice("model_type", ["llama"], "llama");
  const llama = readLlama(ofText);
  const vision = readSiglip(section("vision_config"));
  const shuffle = reader.integer("scale_factor", 2);
  const imageToken = reader.integer("image_token_id", 128257);
  if (imageToken >= llama.vocabularySize)
    reader.fault("image_token_id", `lies below the vocabulary's ${llama.vocabularySize}`);
  // The decoder's own key is not what Transformers goes by.
  const tiedHead = reader.boolean("tie_word_embeddings", false);
  return { ...llama, tiedHead, vision, imageToken, shuffle };
}

const imageWeights = ({ vision, hiddenSize, shuffle }: Idefics3Config): WeightSpec[] => [
  ...siglip(vision, VISION).weights,
  ...linearWeights(CONNECTOR, hiddenSize, vision.hiddenSize * shuffle ** 2),
];

function images(config: Idefics3Config): ImageEncoder {
  const { vision, imageToken: token, shuffle } = config;
  const { blocks, enter, attention, feedForward, finalNorm } = siglip(vision, VISION);
  return {
    token,
    channels: vision.channels,
    stack: {
      dimensions: vision,
      weights: imageWeights(config),
      blocks,
      enter,
      attention,
      feedForward,
      sparse: () => undefined,
      finalNorm: (x, scope) => scope.linear(CONNECTOR, pixelShuffle(finalNorm(x, scope), shuffle)),
      rotatesNeighbours: false,
    },
    positions(height, width) {
      const positions = patchPositions(vision, height, width);
      if (height !== width || (height / vision.patchSize) % shuffle !== 0)
        throw new TunesmithError("shape", {
          where: "batch: pixelValues",
          rule: `images are squares, of a multiple of ${vision.patchSize * shuffle} pixels`,
          seen: `${height} × ${width} pixels`,
          fix: "scale and split it as the model's preprocessor_config.json says",
        });
      return positions;
    },
    rowCount: (patches) => patches / shuffle ** 2,
  };
}

/**
 * Squares of `factor` patches a side as one row each: from the patches of a square image [patches, width]
 * to [patches / factor², factor² · width].
 */
function pixelShuffle(x: Tensor, factor: number): Tensor {
  const [patches, width] = x.shape as [number, number];
  const side = Math.sqrt(patches) / factor;
  const squares = transpose(reshape(x, [side, factor, side, factor, width]), [0, 2, 1, 3, 4]);
  return reshape(squares, [side ** 2, factor ** 2 * width]);
}

export const idefics3: Architecture<Idefics3Config> = {
  ...text,
  modelTypes: ["idefics3", "smolvlm"],
  weights: (config) => [...text.weights(config), ...imageWeights(config)],
  images,
};
