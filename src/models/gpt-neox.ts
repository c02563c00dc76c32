// GPT-NeoX (Black et al. 2022), which is also Pythia: layer norms, queries, keys and values fused head by
// head, a part of each head rotated, and both halves of a block reading its input unless the config says
// otherwise. Reference: Transformers' `modeling_gpt_neox`.

import type { Tensor } from "../tensor/index.ts";
import { type ActivationName, readActivation } from "./activations.ts";
import type { Architecture, Scope } from "./architecture.ts";
import { type AroundConfig, aroundBlocks } from "./around-blocks.ts";
import { readHeads } from "./config-heads.ts";
import { readerFor } from "./config-reader.ts";
import { FUSED_TARGETS, splitHeads } from "./fused-projection.ts";
import { layerNorm, layerNormWeights } from "./layer-norm.ts";
import { linearWeights } from "./linear-weights.ts";
import { plainFeedForward, plainWeights } from "./plain-feed-forward.ts";
import { type RopeConfig, readRope } from "./rope-config.ts";

interface GptNeoxConfig extends AroundConfig {
  readonly intermediateSize: number;
  readonly activation: ActivationName;
  readonly attentionBias: boolean;
  readonly isParallel: boolean;
  readonly rope: RopeConfig;
}

const pathsOf = (layer: number) => {
  const block = `gpt_neox.layers.${layer}`;
  return { block, attention: `${block}.attention`, feedForward: `${block}.mlp` };
};

/** What the feed-forward makes of the stream `x`, added to `stream`. */
function withFeedForward(
  { normEpsilon, activation }: GptNeoxConfig,
  layer: number,
  x: Tensor,
  stream: Tensor,
  scope: Scope,
): Tensor {
  const { block, feedForward: path } = pathsOf(layer);
  const input = layerNorm(`${block}.post_attention_layernorm`, x, normEpsilon, scope);
  return scope.residual(path, stream, plainFeedForward(path, input, activation, scope));
}

export const gptNeox: Architecture<GptNeoxConfig> = {
  modelTypes: ["gpt_neox"],
  covers: "GPT-NeoX and Pythia",

  readConfig(json) {
    const reader = readerFor(json);
    const { hiddenSize, heads, headSize } = readHeads(reader, { hiddenSize: 6144, heads: 64 });
    const maximumPositions = reader.integer("max_position_embeddings", 2048);
    const rope = readRope(
      reader,
      headSize,
      maximumPositions,
      { share: 0.25 },
      { theta: "rotary_emb_base", share: "rotary_pct" },
    );
    const config = {
      layers: reader.integer("num_hidden_layers", 44),
      hiddenSize,
      vocabularySize: reader.integer("vocab_size", 50432),
      heads,
      keyValueHeads: heads,
      headSize,
      rotarySize: rope.size,
      maximumPositions,
      intermediateSize: reader.integer("intermediate_size", 24576),
      activation: readActivation(reader, "hidden_act", "gelu"),
      normEpsilon: reader.number("layer_norm_eps", 1e-5),
      tiedHead: reader.boolean("tie_word_embeddings", false),
      attentionBias: reader.boolean("attention_bias", true),
      isParallel: reader.boolean("use_parallel_residual", true),
      rope,
    };
    reader.finish();
    return config;
  },

  ...aroundBlocks<GptNeoxConfig>({
    embedding: "gpt_neox.embed_in.weight",
    finalNorm: "gpt_neox.final_layer_norm",
    output: "embed_out",
    blockWeights({ hiddenSize: hidden, attentionBias, intermediateSize }, layer) {
      const { block, attention, feedForward } = pathsOf(layer);
      return [
        ...layerNormWeights(`${block}.input_layernorm`, hidden),
        ...layerNormWeights(`${block}.post_attention_layernorm`, hidden),
        ...linearWeights(`${attention}.query_key_value`, 3 * hidden, hidden, attentionBias),
        ...linearWeights(`${attention}.dense`, hidden, hidden, attentionBias),
        ...plainWeights(feedForward, hidden, intermediateSize, true),
      ];
    },
  }),

  blockPaths: (_config, layer) => pathsOf(layer),

  attention(config, layer, x, scope) {
    const { heads, headSize, isParallel } = config;
    const { block, attention: path } = pathsOf(layer);
    const input = layerNorm(`${block}.input_layernorm`, x, config.normEpsilon, scope);
    const fused = scope.linear(`${path}.query_key_value`, input);
    const [queries, keys, values] = splitHeads(fused, {
      groups: heads,
      counts: [1, 1, 1],
      headSize,
    });
    const attended = scope.attend({
      path,
      input,
      queries: scope.rotate(queries!, heads),
      keys: scope.rotate(keys!, heads),
      values: values!,
      scale: 1 / Math.sqrt(headSize),
    });
    const stream = scope.residual(path, x, scope.linear(`${path}.dense`, attended));
    return isParallel ? withFeedForward(config, layer, x, stream, scope) : stream;
  },

  isParallel: ({ isParallel }) => isParallel,
  feedForward: (config, layer, x, scope) => withFeedForward(config, layer, x, x, scope),

  usualTargets: FUSED_TARGETS,
  basePrefix: "gpt_neox",
  // The causal mask, the number for what it hides, and an output matrix that is tied.
  ignoredTensors: /\.attention\.(masked_)?bias$|^embed_out\.weight$/,
};
