// Falcon (Almazrouei et al. 2023): both halves of a block read its input. The 40B and its kin have groups
// of query heads, fused with their key and value, and a layer norm before each half; the 7B has one key
// and value head, and one norm. Reference: Transformers' `modeling_falcon`.

import type { Tensor } from "../tensor/index.ts";
import { type ActivationName, readActivation } from "./activations.ts";
import type { Architecture, Scope } from "./architecture.ts";
import { type AroundConfig, aroundBlocks } from "./around-blocks.ts";
import { readHeads } from "./config-heads.ts";
import { type ConfigReader, readerFor } from "./config-reader.ts";
import { FUSED_TARGETS, splitHeads } from "./fused-projection.ts";
import { layerNorm, layerNormWeights } from "./layer-norm.ts";
import { linearWeights } from "./linear-weights.ts";
import { plainFeedForward, plainWeights } from "./plain-feed-forward.ts";
import { type RopeConfig, readRope } from "./rope-config.ts";

/** The norm in front of each half of a block; one and the same where both read its output. */
interface Norms {
  readonly attention: string;
  readonly feedForward: string;
}

interface FalconConfig extends AroundConfig {
  readonly intermediateSize: number;
  readonly activation: ActivationName;
  readonly biased: boolean;
  readonly isParallel: boolean;
  readonly norms: Norms;
  readonly rope: RopeConfig;
}

const pathsOf = (layer: number) => {
  const block = `transformer.h.${layer}`;
  return { block, attention: `${block}.self_attention`, feedForward: `${block}.mlp` };
};

function readNorms(reader: ConfigReader, isNew: boolean, isParallel: boolean): Norms {
  const count = reader.integer("num_ln_in_parallel_attn", isNew ? 2 : 1);
  if (count > 2 || (count === 2 && !isNew))
    reader.fault("num_ln_in_parallel_attn", "2 norms need new_decoder_architecture");
  if (count === 2) return { attention: "ln_attn", feedForward: "ln_mlp" };
  const attention = "input_layernorm";
  return { attention, feedForward: isParallel ? attention : "post_attention_layernorm" };
}

/** What the feed-forward makes of the stream `x`, added to `stream`. */
function withFeedForward(
  { normEpsilon, activation, norms }: FalconConfig,
  layer: number,
  x: Tensor,
  stream: Tensor,
  scope: Scope,
): Tensor {
  const { block, feedForward: path } = pathsOf(layer);
  const input = layerNorm(`${block}.${norms.feedForward}`, x, normEpsilon, scope);
  return scope.residual(path, stream, plainFeedForward(path, input, activation, scope));
}

export const falcon: Architecture<FalconConfig> = {
  modelTypes: ["falcon"],
  covers: "Falcon 7B and 40B",

  readConfig(json) {
    const reader = readerFor(json);
    const { hiddenSize, heads, headSize } = readHeads(reader, { hiddenSize: 4544, heads: 71 });
    const isNew = reader.boolean("new_decoder_architecture", false);
    const isParallel = reader.boolean("parallel_attn", true);
    if (isNew && !isParallel)
      reader.fault("parallel_attn", "must be true with new_decoder_architecture");
    const hasOneKey = !isNew && reader.boolean("multi_query", true);
    const givenHeads = reader.integer("num_kv_heads", heads);
    if (heads % givenHeads !== 0 || (!isNew && !hasOneKey && givenHeads !== heads))
      reader.fault(
        "num_kv_heads",
        "must divide num_attention_heads, and be as many without groups",
      );
    reader.only("alibi", false);
    const maximumPositions = reader.integer("max_position_embeddings", 2048);
    const config = {
      layers: reader.integer("num_hidden_layers", 32),
      hiddenSize,
      vocabularySize: reader.integer("vocab_size", 65024),
      heads,
      keyValueHeads: hasOneKey ? 1 : givenHeads,
      headSize,
      maximumPositions,
      intermediateSize: reader.integer("ffn_hidden_size", 4 * hiddenSize),
      activation: readActivation(reader, "activation", "gelu"),
      normEpsilon: reader.number("layer_norm_epsilon", 1e-5),
      tiedHead: reader.boolean("tie_word_embeddings", true),
      biased: reader.boolean("bias", false),
      isParallel,
      norms: readNorms(reader, isNew, isParallel),
      rope: readRope(reader, headSize, maximumPositions),
    };
    reader.finish();
    return config;
  },

  ...aroundBlocks<FalconConfig>({
    embedding: "transformer.word_embeddings.weight",
    finalNorm: "transformer.ln_f",
    output: "lm_head",
    blockWeights(config, layer) {
      const { hiddenSize: hidden, heads, keyValueHeads, headSize, biased, norms } = config;
      const { block, attention, feedForward } = pathsOf(layer);
      const fused = (heads + 2 * keyValueHeads) * headSize;
      const names = [...new Set([norms.attention, norms.feedForward])];
      return [
        ...names.flatMap((name) => layerNormWeights(`${block}.${name}`, hidden)),
        ...linearWeights(`${attention}.query_key_value`, fused, hidden, biased),
        ...linearWeights(`${attention}.dense`, hidden, hidden, biased),
        ...plainWeights(feedForward, hidden, config.intermediateSize, biased),
      ];
    },
  }),

  blockPaths: (_config, layer) => pathsOf(layer),

  attention(config, layer, x, scope) {
    const { heads, keyValueHeads, headSize, isParallel, norms } = config;
    const { block, attention: path } = pathsOf(layer);
    const input = layerNorm(`${block}.${norms.attention}`, x, config.normEpsilon, scope);
    const fused = scope.linear(`${path}.query_key_value`, input);
    const [queries, keys, values] = splitHeads(fused, {
      groups: keyValueHeads,
      counts: [heads / keyValueHeads, 1, 1],
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
    const stream = scope.residual(path, x, scope.linear(`${path}.dense`, attended));
    return isParallel ? withFeedForward(config, layer, x, stream, scope) : stream;
  },

  isParallel: ({ isParallel }) => isParallel,
  feedForward: (config, layer, x, scope) => withFeedForward(config, layer, x, x, scope),

  usualTargets: FUSED_TARGETS,
  basePrefix: "transformer",
};
