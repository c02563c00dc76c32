// Phi-1, Phi-1.5 and Phi-2 (Li et al. 2023): both halves of a block read its one LayerNorm, every linear
// layer has a bias, the output too, and a part of each head is rotated. Reference: Transformers'
// `modeling_phi`.

import type { Tensor } from "../tensor/index.ts";
import { type ActivationName, readActivation } from "./activations.ts";
import type { Architecture, Scope, WeightSpec } from "./architecture.ts";
import { type AroundConfig, aroundBlocks } from "./around-blocks.ts";
import { normedInParts } from "./block-norms.ts";
import { readerFor } from "./config-reader.ts";
import { layerNorm, layerNormWeights } from "./layer-norm.ts";
import { linearWeights } from "./linear-weights.ts";
import { plainFeedForward, plainWeights } from "./plain-feed-forward.ts";
import { type RopeConfig, readRope, rotarySwitch } from "./rope-config.ts";

interface PhiConfig extends AroundConfig {
  readonly intermediateSize: number;
  readonly activation: ActivationName;
  /** Whether queries and keys are normed head by head. */
  readonly normsHeads: boolean;
  readonly rope: RopeConfig;
}

const OUTPUT = "lm_head";
const FEED_FORWARD = { up: "fc1", down: "fc2" };

const pathsOf = (layer: number) => {
  const block = `model.layers.${layer}`;
  return { block, attention: `${block}.self_attn`, feedForward: `${block}.mlp` };
};

function blockWeights(config: PhiConfig, layer: number): WeightSpec[] {
  const { hiddenSize: hidden, intermediateSize: inner, heads, keyValueHeads, headSize } = config;
  const { block, attention, feedForward } = pathsOf(layer);
  return [
    ...layerNormWeights(`${block}.input_layernorm`, hidden),
    ...linearWeights(`${attention}.q_proj`, heads * headSize, hidden, true),
    ...linearWeights(`${attention}.k_proj`, keyValueHeads * headSize, hidden, true),
    ...linearWeights(`${attention}.v_proj`, keyValueHeads * headSize, hidden, true),
    ...linearWeights(`${attention}.dense`, hidden, heads * headSize, true),
    ...(config.normsHeads
      ? ["q_layernorm", "k_layernorm"].flatMap((name) =>
          layerNormWeights(`${attention}.${name}`, headSize),
        )
      : []),
    ...plainWeights(feedForward, hidden, inner, true, FEED_FORWARD),
  ];
}

/** Queries or keys from normed states. */
function headsOf(
  config: PhiConfig,
  path: string,
  name: "q" | "k",
  input: Tensor,
  scope: Scope,
): Tensor {
  const states = scope.linear(`${path}.${name}_proj`, input);
  const normed = config.normsHeads
    ? normedInParts(states, config.headSize, (rows) =>
        layerNorm(`${path}.${name}_layernorm`, rows, config.normEpsilon, scope),
      )
    : states;
  return scope.rotate(normed, name === "q" ? config.heads : config.keyValueHeads);
}

export const phi: Architecture<PhiConfig> = {
  modelTypes: ["phi"],
  covers: "Phi-1, Phi-1.5 and Phi-2",

  readConfig(json) {
    const reader = readerFor(json);
    const hiddenSize = reader.integer("hidden_size");
    const heads = reader.integer("num_attention_heads");
    const keyValueHeads = reader.integer("num_key_value_heads", heads);
    const headSize = reader.integer("head_dim", hiddenSize / heads);
    const maximumPositions = reader.integer("max_position_embeddings", 2048);
    if (heads % keyValueHeads !== 0)
      reader.fault("num_key_value_heads", "must divide num_attention_heads");
    const rope = readRope(reader, headSize, maximumPositions, { share: 0.5 });
    const config = {
      layers: reader.integer("num_hidden_layers"),
      hiddenSize,
      vocabularySize: reader.integer("vocab_size"),
      heads,
      keyValueHeads,
      headSize,
      rotarySize: rope.size,
      ...rotarySwitch(rope),
      maximumPositions,
      intermediateSize: reader.integer("intermediate_size"),
      normEpsilon: reader.number("layer_norm_eps", 1e-5),
      activation: readActivation(reader, "hidden_act", "gelu_new"),
      normsHeads: reader.boolean("qk_layernorm", false),
      tiedHead: reader.boolean("tie_word_embeddings", false),
      rope,
    };
    reader.finish();
    return config;
  },

  ...aroundBlocks<PhiConfig>({
    embedding: "model.embed_tokens.weight",
    finalNorm: "model.final_layernorm",
    output: OUTPUT,
    blockWeights,
    furtherWeights: ({ vocabularySize }) => [
      { name: `${OUTPUT}.bias`, shape: [vocabularySize], role: "bias" },
    ],
  }),

  blockPaths: (_, layer) => pathsOf(layer),

  attention(config, layer, x, scope) {
    const { block, attention: path, feedForward } = pathsOf(layer);
    const input = layerNorm(`${block}.input_layernorm`, x, config.normEpsilon, scope);
    const attended = scope.attend({
      path,
      input,
      queries: headsOf(config, path, "q", input, scope),
      keys: headsOf(config, path, "k", input, scope),
      values: scope.linear(`${path}.v_proj`, input),
      scale: 1 / Math.sqrt(config.headSize),
    });
    const output = plainFeedForward(feedForward, input, config.activation, scope, FEED_FORWARD);
    const withAttention = scope.residual(path, x, scope.linear(`${path}.dense`, attended));
    return scope.residual(feedForward, withAttention, output);
  },

  usualTargets: {
    attention: ["q_proj", "v_proj", "fc1", "fc2"],
    scaledOutputs: ["q_proj", "v_proj"],
    scaledInputs: ["fc2"],
  },
};
