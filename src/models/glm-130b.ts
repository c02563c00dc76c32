// GLM-130B (Zeng et al. 2022): layer norms whose output is what the residual carries on, times (2L)^½
// (DeepNorm, Wang et al. 2022), a feed-forward gated by GELU, and a context that sees all of itself. Names
// of tensors and sizes are SwissArmyTransformer's; the parity cases' reference is written down from the
// paper and the description of that code.

import { constant, gelu, multiply, type Tensor } from "../tensor/index.ts";
import type { Architecture, BlankTokens, Dimensions } from "./architecture.ts";
import { type AroundConfig, aroundBlocks } from "./around-blocks.ts";
import { type ConfigReader, readerFor } from "./config-reader.ts";
import { FUSED_TARGETS, splitHalves, splitHeads } from "./fused-projection.ts";
import { layerNorm, layerNormWeights } from "./layer-norm.ts";
import { linearWeights } from "./linear-weights.ts";
import { MEGATRON_NAMES } from "./plain-feed-forward.ts";

interface Glm130bConfig extends AroundConfig {
  readonly intermediateSize: number;
}

const pathsOf = (layer: number) => {
  const block = `transformer.layers.${layer}`;
  return { block, attention: `${block}.attention`, feedForward: `${block}.mlp` };
};

/** The keys that ChatGLM-6B's config.json has for them, and the ids of GLM-130B's tokenizer. */
const BLANK_KEYS = {
  mask: ["mask_token_id", 150000],
  generationMask: ["gmask_token_id", 150001],
  start: ["bos_token_id", 150004],
  end: ["eop_token_id", 150005],
} as const satisfies Record<keyof BlankTokens, readonly [key: string, usual: number]>;

function readBlanks(reader: ConfigReader, vocabularySize: number): BlankTokens {
  const read = (name: keyof BlankTokens) => {
    const [key, usual] = BLANK_KEYS[name];
    const id = reader.integer(key, usual);
    if (id >= vocabularySize)
      reader.fault(key, `must be a token below vocab_size; ${usual} where it is not given`);
    return id;
  };
  return {
    mask: read("mask"),
    generationMask: read("generationMask"),
    start: read("start"),
    end: read("end"),
  };
}

/** What the residual carries past a half of a block: its normed input, times (2L)^½. */
const carried = (input: Tensor, { layers }: Dimensions): Tensor =>
  multiply(input, constant(Math.sqrt(2 * layers)));

export const glm130b: Architecture<Glm130bConfig> = {
  modelTypes: ["glm-130b"],
  covers: "GLM-130B",

  readConfig(json) {
    const reader = readerFor(json);
    reader.only("layernorm_order", "post");
    reader.only("position_encoding_2d", false);
    reader.only("no_glu", false);
    const hiddenSize = reader.integer("hidden_size");
    const heads = reader.integer("num_attention_heads");
    const vocabularySize = reader.integer("vocab_size");
    const headSize = hiddenSize / heads;
    if (!Number.isInteger(headSize / 2))
      reader.fault("num_attention_heads", "must divide hidden_size into heads of an even size");
    const blanks = readBlanks(reader, vocabularySize);
    const config = {
      layers: reader.integer("num_layers"),
      hiddenSize,
      vocabularySize,
      heads,
      keyValueHeads: heads,
      headSize,
      blanks,
      maximumPositions: reader.integer("max_sequence_length", 2048),
      intermediateSize: reader.integer("inner_hidden_size", Math.floor((8 * hiddenSize) / 3)),
      normEpsilon: reader.number("layernorm_epsilon", 1e-5),
      tiedHead: true,
      rope: { theta: 10000, size: headSize, scaling: { kind: "default" as const } },
    };
    reader.finish();
    return config;
  },

  ...aroundBlocks<Glm130bConfig>({
    embedding: "transformer.word_embeddings.weight",
    finalNorm: "transformer.final_layernorm",
    output: "lm_head",
    blockWeights({ hiddenSize: hidden, intermediateSize: inner }, layer) {
      const { up, down } = MEGATRON_NAMES;
      const { block, attention, feedForward } = pathsOf(layer);
      return [
        ...layerNormWeights(`${block}.input_layernorm`, hidden),
        ...linearWeights(`${attention}.query_key_value`, 3 * hidden, hidden, true),
        ...linearWeights(`${attention}.dense`, hidden, hidden, true),
        ...layerNormWeights(`${block}.post_attention_layernorm`, hidden),
        ...linearWeights(`${feedForward}.${up}`, 2 * inner, hidden, true),
        ...linearWeights(`${feedForward}.${down}`, hidden, inner, true),
      ];
    },
  }),

  blockPaths: (_config, layer) => pathsOf(layer),

  attention(config, layer, x, scope) {
    const { heads, headSize, normEpsilon } = config;
    const { block, attention: path } = pathsOf(layer);
    const input = layerNorm(`${block}.input_layernorm`, x, normEpsilon, scope);
    const [queries, keys, values] = splitHeads(scope.linear(`${path}.query_key_value`, input), {
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
    return scope.residual(path, carried(input, config), scope.linear(`${path}.dense`, attended));
  },

  feedForward(config, layer, x, scope) {
    const { block, feedForward: path } = pathsOf(layer);
    const { up, down } = MEGATRON_NAMES;
    const input = layerNorm(`${block}.post_attention_layernorm`, x, config.normEpsilon, scope);
    const output = scope.module(path, input, (states) => {
      const [other, gate] = splitHalves(scope.linear(`${path}.${up}`, states));
      return scope.linear(`${path}.${down}`, multiply(other, gelu(gate)));
    });
    return scope.residual(path, carried(input, config), output);
  },

  usualTargets: FUSED_TARGETS,
  basePrefix: "transformer",
};
