// ChatGLM2, ChatGLM3 and GLM-4-9B-chat in the repository's own format (Zeng et al. 2023, Team GLM 2024): the
// decoder that `glm` is, with other names, queries, keys and values fused, and sizes under keys of its own.
// Transformers has no class for it; the parity cases' reference is written down from the description.

import { multiply, rmsNorm, silu } from "../tensor/index.ts";
import type { Architecture } from "./architecture.ts";
import { type AroundConfig, aroundBlocks } from "./around-blocks.ts";
import { normWeight } from "./block-norms.ts";
import { type ConfigReader, readerFor } from "./config-reader.ts";
import { FUSED_TARGETS, splitHalves, splitHeads } from "./fused-projection.ts";
import { linearWeights } from "./linear-weights.ts";
import { MEGATRON_NAMES } from "./plain-feed-forward.ts";
import type { RopeConfig } from "./rope-config.ts";

interface ChatGlmConfig extends AroundConfig {
  readonly intermediateSize: number;
  /** Whether queries, keys and values lie group by group, and not head by head. */
  readonly isGrouped: boolean;
  readonly qkvBias: boolean;
  readonly biased: boolean;
}

const pathsOf = (layer: number) => {
  const block = `transformer.encoder.layers.${layer}`;
  return { block, attention: `${block}.self_attention`, feedForward: `${block}.mlp` };
};

/**
 * `rope_ratio` divides positions in ChatGLM2 (its 32k model) and multiplies the base in ChatGLM3 and GLM-4, as
 * the code beside each model has it; their configs differ by the model's name alone.
 */
function readRatio(reader: ConfigReader, name: unknown): Pick<RopeConfig, "theta" | "scaling"> {
  const ratio = reader.number("rope_ratio", 1);
  const scaling = { kind: "default" } as const;
  if (ratio === 1) return { theta: 10000, scaling };
  if (/chatglm2/i.test(String(name)))
    return { theta: 10000, scaling: { kind: "linear", factor: ratio } };
  if (!/chatglm3|glm-?4/i.test(String(name)))
    reader.fault(
      "rope_ratio",
      "needs _name_or_path beside it with chatglm2, chatglm3 or glm-4 in it, which mean different things by it",
    );
  return { theta: 10000 * ratio, scaling };
}

export const chatglm: Architecture<ChatGlmConfig> = {
  modelTypes: ["chatglm"],
  covers: "ChatGLM2, ChatGLM3 and GLM-4, in the repository's own format",

  readConfig(json) {
    const reader = readerFor(json);
    if (reader.has("inner_hidden_size"))
      reader.fault("inner_hidden_size", "is of ChatGLM-6B, which is another architecture");
    const supported = {
      rmsnorm: true,
      post_layer_norm: true,
      apply_residual_connection_post_layernorm: false,
      original_rope: true,
      tie_word_embeddings: false,
      quantization_bit: 0,
      pre_seq_len: null,
    };
    for (const [key, value] of Object.entries(supported)) reader.only(key, value);
    const hiddenSize = reader.integer("hidden_size", 4096);
    const heads = reader.integer("num_attention_heads", 32);
    const headSize = reader.integer("kv_channels", 128);
    if (headSize % 4 !== 0) reader.fault("kv_channels", "must be a multiple of 4");
    const isGrouped = reader.boolean("multi_query_attention", false);
    const keyValueHeads = isGrouped ? reader.integer("multi_query_group_num", 1) : heads;
    if (heads % keyValueHeads !== 0)
      reader.fault("multi_query_group_num", "must divide num_attention_heads");
    const biased = reader.boolean("add_bias_linear", false);
    const rotarySize = headSize / 2;
    const config = {
      layers: reader.integer("num_layers", 28),
      hiddenSize,
      vocabularySize: reader.integer("padded_vocab_size", 65024),
      heads,
      keyValueHeads,
      headSize,
      rotarySize,
      maximumPositions: reader.integer("seq_length", 2048),
      intermediateSize: reader.integer("ffn_hidden_size", 13696),
      normEpsilon: reader.number("layernorm_epsilon", 1e-5),
      isGrouped,
      qkvBias: biased || reader.boolean("add_qkv_bias", false),
      biased,
      tiedHead: false,
      rope: { size: rotarySize, ...readRatio(reader, json._name_or_path) },
    };
    reader.finish();
    return config;
  },

  ...aroundBlocks<ChatGlmConfig>({
    embedding: "transformer.embedding.word_embeddings.weight",
    finalNorm: "transformer.encoder.final_layernorm",
    output: "transformer.output_layer",
    isRmsNorm: true,
    blockWeights(config, layer) {
      const {
        hiddenSize: hidden,
        heads,
        keyValueHeads,
        headSize,
        intermediateSize: inner,
      } = config;
      const fused = (heads + 2 * keyValueHeads) * headSize;
      const { block, attention, feedForward } = pathsOf(layer);
      const { up, down } = MEGATRON_NAMES;
      return [
        normWeight(`${block}.input_layernorm`, hidden),
        ...linearWeights(`${attention}.query_key_value`, fused, hidden, config.qkvBias),
        ...linearWeights(`${attention}.dense`, hidden, heads * headSize, config.biased),
        normWeight(`${block}.post_attention_layernorm`, hidden),
        ...linearWeights(`${feedForward}.${up}`, 2 * inner, hidden, config.biased),
        ...linearWeights(`${feedForward}.${down}`, hidden, inner, config.biased),
      ];
    },
  }),

  blockPaths: (_config, layer) => pathsOf(layer),

  attention(config, layer, x, scope) {
    const { heads, keyValueHeads, headSize, isGrouped, normEpsilon } = config;
    const { block, attention: path } = pathsOf(layer);
    const input = rmsNorm(x, scope.weight(`${block}.input_layernorm.weight`), normEpsilon);
    const [queries, keys, values] = splitHeads(scope.linear(`${path}.query_key_value`, input), {
      groups: isGrouped ? 1 : heads,
      counts: isGrouped ? [heads, keyValueHeads, keyValueHeads] : [1, 1, 1],
      headSize,
    });
    const attended = scope.attend({
      path,
      input,
      queries: scope.rotate(queries!, heads),
      keys: scope.rotate(keys!, keyValueHeads),
      values: values!,
      scale: 1 / Math.sqrt(headSize),
    });
    return scope.residual(path, x, scope.linear(`${path}.dense`, attended));
  },

  feedForward(config, layer, x, scope) {
    const { block, feedForward: path } = pathsOf(layer);
    const { up, down } = MEGATRON_NAMES;
    const norm = scope.weight(`${block}.post_attention_layernorm.weight`);
    const output = scope.module(path, rmsNorm(x, norm, config.normEpsilon), (states) => {
      const [gate, other] = splitHalves(scope.linear(`${path}.${up}`, states));
      return scope.linear(`${path}.${down}`, multiply(silu(gate), other));
    });
    return scope.residual(path, x, output);
  },

  rotatesNeighbours: true,
  usualTargets: FUSED_TARGETS,
  basePrefix: "transformer",
  ignoredTensors: /rotary_pos_emb\.inv_freq$/,
};
