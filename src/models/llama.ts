// LLaMA (Touvron et al. 2023) and the many checkpoints that use its architecture: pre-norm blocks,
// rotary embedding, grouped-query attention, SwiGLU. Reference: Transformers' `modeling_llama`.

import { multiply, rmsNorm, silu } from "../tensor/index.ts";
import type { Architecture, BlockPaths, WeightSpec } from "./architecture.ts";
import { readerFor } from "./config-reader.ts";
import { type RopeConfig, readRope, rotaryTables } from "./rope.ts";

export interface LlamaConfig {
  readonly layers: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly vocabularySize: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly maximumPositions: number;
  readonly normEpsilon: number;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  readonly tiedHead: boolean;
  readonly rope: RopeConfig;
}

const blockPaths = (layer: number): BlockPaths => {
  const block = `model.layers.${layer}`;
  return { block, attention: `${block}.self_attn`, feedForward: `${block}.mlp` };
};

export const llama: Architecture<LlamaConfig> = {
  modelTypes: ["llama"],

  readConfig(json) {
    const reader = readerFor(json);
    const hiddenSize = reader.integer("hidden_size");
    const heads = reader.integer("num_attention_heads");
    const keyValueHeads = reader.integer("num_key_value_heads", heads);
    const headSize = reader.integer("head_dim", hiddenSize / heads);
    const maximumPositions = reader.integer("max_position_embeddings", 2048);
    if (heads % keyValueHeads !== 0)
      reader.fault("num_key_value_heads", "must divide num_attention_heads");
    if (headSize % 2 !== 0) reader.fault("head_dim", "must be even");
    reader.choice("hidden_act", ["silu", "swish"], "silu");
    reader.only("pretraining_tp", 1);
    const config: LlamaConfig = {
      layers: reader.integer("num_hidden_layers"),
      hiddenSize,
      intermediateSize: reader.integer("intermediate_size"),
      vocabularySize: reader.integer("vocab_size"),
      heads,
      keyValueHeads,
      headSize,
      maximumPositions,
      normEpsilon: reader.number("rms_norm_eps", 1e-6),
      attentionBias: reader.boolean("attention_bias", false),
      mlpBias: reader.boolean("mlp_bias", false),
      tiedHead: reader.boolean("tie_word_embeddings", false),
      rope: readRope(reader, headSize, maximumPositions),
    };
    reader.finish();
    return config;
  },

  dimensions: (config) => config,

  weights(config) {
    const { hiddenSize: hidden, intermediateSize: inner, headSize } = config;
    const queryWidth = config.heads * headSize;
    const keyWidth = config.keyValueHeads * headSize;
    const linears: [path: string, output: number, input: number, bias: boolean][] = [
      ["self_attn.q_proj", queryWidth, hidden, config.attentionBias],
      ["self_attn.k_proj", keyWidth, hidden, config.attentionBias],
      ["self_attn.v_proj", keyWidth, hidden, config.attentionBias],
      ["self_attn.o_proj", hidden, queryWidth, config.attentionBias],
      ["mlp.gate_proj", inner, hidden, config.mlpBias],
      ["mlp.up_proj", inner, hidden, config.mlpBias],
      ["mlp.down_proj", hidden, inner, config.mlpBias],
    ];
    const norm = (name: string): WeightSpec => ({ name, shape: [hidden], role: "norm" });
    const blocks = Array.from({ length: config.layers }, (_, layer) => {
      const prefix = `model.layers.${layer}`;
      return [
        norm(`${prefix}.input_layernorm.weight`),
        norm(`${prefix}.post_attention_layernorm.weight`),
        ...linears.flatMap(([path, output, input, bias]): WeightSpec[] => [
          { name: `${prefix}.${path}.weight`, shape: [output, input], role: "linear" },
          ...(bias
            ? [{ name: `${prefix}.${path}.bias`, shape: [output], role: "bias" as const }]
            : []),
        ]),
      ];
    });
    const matrix = [config.vocabularySize, hidden];
    return [
      { name: this.embeddingName, shape: matrix, role: "embedding" },
      ...blocks.flat(),
      norm("model.norm.weight"),
      ...(config.tiedHead
        ? []
        : [{ name: "lm_head.weight", shape: matrix, role: "output" as const }]),
    ];
  },

  blockPaths,

  attention(config, layer, x, scope) {
    const { block, attention: path } = blockPaths(layer);
    const weight = scope.weight(`${block}.input_layernorm.weight`);
    const normed = rmsNorm(x, weight, config.normEpsilon);
    const queries = scope.linear(`${path}.q_proj`, normed);
    const keys = scope.linear(`${path}.k_proj`, normed);
    const attended = scope.attend({
      path,
      input: normed,
      queries: scope.rotate(queries, config.heads),
      keys: scope.rotate(keys, config.keyValueHeads),
      values: scope.linear(`${path}.v_proj`, normed),
      scale: 1 / Math.sqrt(config.headSize),
    });
    return scope.residual(path, x, scope.linear(`${path}.o_proj`, attended));
  },

  feedForward(config, layer, x, scope) {
    const { block, feedForward: path } = blockPaths(layer);
    const weight = scope.weight(`${block}.post_attention_layernorm.weight`);
    const normed = rmsNorm(x, weight, config.normEpsilon);
    const output = scope.module(path, normed, (input) => {
      const gate = silu(scope.linear(`${path}.gate_proj`, input));
      const up = scope.linear(`${path}.up_proj`, input);
      return scope.linear(`${path}.down_proj`, multiply(gate, up));
    });
    return scope.residual(path, x, output);
  },

  finalNorm: (config, x, scope) =>
    rmsNorm(x, scope.weight("model.norm.weight"), config.normEpsilon),

  embeddingName: "model.embed_tokens.weight",
  outputPath: "lm_head",
  outputName: (config) => (config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight"),
  rotaryTables: (config, length) => rotaryTables(config.rope, length),
};
