// The image encoder of SigLIP (Zhai et al. 2023), a vision transformer (Dosovitskiy et al. 2021): patches of an image
// as rows, in blocks in which all see each other. It reads smaller images than it was made for by the
// share of the way that a patch lies along each side (Dehghani et al. 2023). Reference: Transformers'
// `Idefics3VisionTransformer`.

import { TunesmithError } from "../errors.ts";
import { add, gatherRows, linear, reshape, type Tensor, transpose } from "../tensor/index.ts";
import { type ActivationName, readActivation } from "./activations.ts";
import type { BlockDimensions, BlockPaths, Scope, WeightSpec } from "./architecture.ts";
import type { ConfigReader } from "./config-reader.ts";
import { layerNorm, layerNormWeights } from "./layer-norm.ts";
import { linearWeights } from "./linear-weights.ts";
import { plainFeedForward, plainWeights } from "./plain-feed-forward.ts";

export interface SiglipConfig extends BlockDimensions {
  readonly intermediateSize: number;
  readonly activation: ActivationName;
  readonly normEpsilon: number;
  readonly channels: number;
  /** Pixels of a patch's side. */
  readonly patchSize: number;
  /** Patches along a side of the images that it was made for. */
  readonly side: number;
}

const NAMES = { up: "fc1", down: "fc2" };
const PROJECTIONS = ["q_proj", "k_proj", "v_proj"] as const;

/** What a config says of the encoder. Faults are the reader's. */
export function readSiglip(reader: ConfigReader): SiglipConfig {
  const hiddenSize = reader.integer("hidden_size", 1152);
  const heads = reader.integer("num_attention_heads", 16);
  if (hiddenSize % heads !== 0) reader.fault("num_attention_heads", "must divide hidden_size");
  const patchSize = reader.integer("patch_size", 32);
  return {
    layers: reader.integer("num_hidden_layers", 12),
    hiddenSize,
    heads,
    keyValueHeads: heads,
    headSize: hiddenSize / heads,
    seesContext: true,
    rotarySize: 0,
    intermediateSize: reader.integer("intermediate_size", 3072),
    activation: readActivation(reader, "hidden_act", "gelu_pytorch_tanh"),
    normEpsilon: reader.number("layer_norm_eps", 1e-6),
    channels: reader.integer("num_channels", 3),
    patchSize,
    side: Math.floor(reader.integer("image_size", 224) / patchSize),
  };
}

/** The encoder whose module is at `path`. */
export function siglip(config: SiglipConfig, path: string) {
  const { hiddenSize: hidden, channels, patchSize, normEpsilon } = config;
  const embedding = `${path}.embeddings.patch_embedding`;
  const positions = `${path}.embeddings.position_embedding.weight`;
  const blockPaths = (layer: number): BlockPaths => {
    const block = `${path}.encoder.layers.${layer}`;
    return { block, attention: `${block}.self_attn`, feedForward: `${block}.mlp` };
  };
  const blocks = Array.from({ length: config.layers }, (_, layer) => blockPaths(layer));
  const weightsOf = ({ block, attention, feedForward }: BlockPaths): WeightSpec[] => [
    ...layerNormWeights(`${block}.layer_norm1`, hidden),
    ...[...PROJECTIONS, "out_proj"].flatMap((name) =>
      linearWeights(`${attention}.${name}`, hidden, hidden, true),
    ),
    ...layerNormWeights(`${block}.layer_norm2`, hidden),
    ...plainWeights(feedForward, hidden, config.intermediateSize, true, NAMES),
  ];
  const weights: WeightSpec[] = [
    {
      name: `${embedding}.weight`,
      shape: [hidden, channels, patchSize, patchSize],
      role: "patches",
    },
    { name: `${embedding}.bias`, shape: [hidden], role: "bias" },
    { name: positions, shape: [config.side ** 2, hidden], role: "patches" },
    ...blocks.flatMap(weightsOf),
    ...layerNormWeights(`${path}.post_layernorm`, hidden),
  ];
  return {
    weights,
    blocks,

    /** From an image [channels, height, width] to a row for each patch, [patches, hidden]. */
    enter(image: Tensor, scope: Scope): Tensor {
      const patches = toPatches(image, patchSize);
      const matrix = reshape(scope.weight(`${embedding}.weight`), [hidden, patches.shape[1]!]);
      const embedded = add(linear(patches, matrix), scope.weight(`${embedding}.bias`));
      return add(embedded, gatherRows(scope.weight(positions), scope.positions()));
    },

    attention(layer: number, x: Tensor, scope: Scope): Tensor {
      const { block, attention: path } = blocks[layer]!;
      const input = layerNorm(`${block}.layer_norm1`, x, normEpsilon, scope);
      const [queries, keys, values] = PROJECTIONS.map((name) =>
        scope.linear(`${path}.${name}`, input),
      ) as [Tensor, Tensor, Tensor];
      const scale = 1 / Math.sqrt(config.headSize);
      const attended = scope.attend({ path, input, queries, keys, values, scale });
      return scope.residual(path, x, scope.linear(`${path}.out_proj`, attended));
    },

    feedForward(layer: number, x: Tensor, scope: Scope): Tensor {
      const { block, feedForward: path } = blocks[layer]!;
      const input = layerNorm(`${block}.layer_norm2`, x, normEpsilon, scope);
      const output = plainFeedForward(path, input, config.activation, scope, NAMES);
      return scope.residual(path, x, output);
    },

    finalNorm: (x: Tensor, scope: Scope): Tensor =>
      layerNorm(`${path}.post_layernorm`, x, normEpsilon, scope),
  };
}

/** [channels, height, width] as rows [patches, channels · size · size], line by line. */
function toPatches(image: Tensor, size: number): Tensor {
  const [channels, height, width] = image.shape as [number, number, number];
  const [lines, columns] = [height / size, width / size];
  const split = reshape(image, [channels, lines, size, columns, size]);
  return reshape(transpose(split, [1, 3, 0, 2, 4]), [lines * columns, channels * size * size]);
}

/**
 * Of each patch of an image, line by line, the position that lies at the same share of the way along both
 * sides. Transformers compares those shares in float32, whose rounding moves positions on some sides (of
 * 19, 25 or 29 patches) and not on those of published models; these are exact.
 * @throws TunesmithError (shape) for images that are not of whole patches, or of more than it was made for
 */
export function patchPositions(
  { patchSize, side }: Pick<SiglipConfig, "patchSize" | "side">,
  height: number,
  width: number,
): number[] {
  const [lines, columns] = [height / patchSize, width / patchSize];
  const fits = (count: number) => Number.isInteger(count) && count >= 1 && count <= side;
  if (!fits(lines) || !fits(columns))
    throw new TunesmithError("shape", {
      where: "batch: pixelValues",
      rule: `sides of an image are whole patches of ${patchSize} pixels, ${side} at most`,
      seen: `${height} × ${width} pixels`,
      fix: "scale it as the model's preprocessor_config.json says",
    });
  const bucket = (patch: number, count: number) => Math.floor((patch * side) / count);
  return Array.from(
    { length: lines * columns },
    (_, patch) =>
      bucket(Math.floor(patch / columns), lines) * side + bucket(patch % columns, columns),
  );
}
