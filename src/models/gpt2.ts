// GPT-2 (Radford et al. 2019): learned positions, layer norms, one product for queries, keys and values,
// matrices that files hold as [in, out]. Reference: Transformers' `modeling_gpt2`.

import { add, gatherRows } from "../tensor/index.ts";
import { type ActivationName, readActivation } from "./activations.ts";
import type { Architecture, WeightSpec } from "./architecture.ts";
import { type AroundConfig, aroundBlocks } from "./around-blocks.ts";
import { readHeads } from "./config-heads.ts";
import { readerFor } from "./config-reader.ts";
import { splitHeads } from "./fused-projection.ts";
import { layerNorm, layerNormWeights } from "./layer-norm.ts";
import { linearWeights } from "./linear-weights.ts";
import { plainFeedForward, plainWeights } from "./plain-feed-forward.ts";

interface Gpt2Config extends AroundConfig {
  readonly intermediateSize: number;
  readonly activation: ActivationName;
  /** Whether scores are divided by the root of the head size, and by the number of the layer. */
  readonly scalesByHead: boolean;
  readonly scalesByLayer: boolean;
}

const POSITIONS = "transformer.wpe.weight";
const NAMES = { up: "c_fc", down: "c_proj" };
const pathsOf = (layer: number) => {
  const block = `transformer.h.${layer}`;
  return { block, attention: `${block}.attn`, feedForward: `${block}.mlp` };
};

/** As files hold it. */
const turned = (weight: WeightSpec): WeightSpec =>
  weight.role === "linear" ? { ...weight, isTransposed: true } : weight;

export const gpt2: Architecture<Gpt2Config> = {
  modelTypes: ["gpt2"],
  covers: "GPT-2",

  readConfig(json) {
    const reader = readerFor(json);
    const { hiddenSize, heads, headSize } = readHeads(
      reader,
      { hiddenSize: 768, heads: 12 },
      { hiddenSize: "n_embd", heads: "n_head" },
    );
    reader.only("add_cross_attention", false);
    const config = {
      layers: reader.integer("n_layer", 12),
      hiddenSize,
      vocabularySize: reader.integer("vocab_size", 50257),
      heads,
      keyValueHeads: heads,
      headSize,
      rotarySize: 0,
      maximumPositions: reader.integer("n_positions", 1024),
      intermediateSize: reader.integer("n_inner", 4 * hiddenSize),
      activation: readActivation(reader, "activation_function", "gelu_new"),
      normEpsilon: reader.number("layer_norm_epsilon", 1e-5),
      tiedHead: reader.boolean("tie_word_embeddings", true),
      scalesByHead: reader.boolean("scale_attn_weights", true),
      scalesByLayer: reader.boolean("scale_attn_by_inverse_layer_idx", false),
    };
    reader.finish();
    return config;
  },

  ...aroundBlocks<Gpt2Config>({
    embedding: "transformer.wte.weight",
    finalNorm: "transformer.ln_f",
    output: "lm_head",
    blockWeights({ hiddenSize: hidden, intermediateSize }, layer) {
      const { block, attention, feedForward } = pathsOf(layer);
      return [
        ...layerNormWeights(`${block}.ln_1`, hidden),
        ...linearWeights(`${attention}.c_attn`, 3 * hidden, hidden, true).map(turned),
        ...linearWeights(`${attention}.c_proj`, hidden, hidden, true).map(turned),
        ...layerNormWeights(`${block}.ln_2`, hidden),
        ...plainWeights(feedForward, hidden, intermediateSize, true, NAMES).map(turned),
      ];
    },
    furtherWeights: ({ maximumPositions, hiddenSize }) => [
      { name: POSITIONS, shape: [maximumPositions, hiddenSize], role: "positions" },
    ],
  }),

  blockPaths: (_config, layer) => pathsOf(layer),

  enter: (_config, x, scope) => add(x, gatherRows(scope.weight(POSITIONS), scope.positions())),

  attention(config, layer, x, scope) {
    const { heads, headSize, scalesByHead, scalesByLayer } = config;
    const { block, attention: path } = pathsOf(layer);
    const input = layerNorm(`${block}.ln_1`, x, config.normEpsilon, scope);
    const fused = scope.linear(`${path}.c_attn`, input);
    const counts = [heads, heads, heads];
    const [queries, keys, values] = splitHeads(fused, { groups: 1, counts, headSize });
    const attended = scope.attend({
      path,
      input,
      queries: queries!,
      keys: keys!,
      values: values!,
      scale: (scalesByHead ? 1 / Math.sqrt(headSize) : 1) / (scalesByLayer ? layer + 1 : 1),
    });
    return scope.residual(path, x, scope.linear(`${path}.c_proj`, attended));
  },

  feedForward(config, layer, x, scope) {
    const { block, feedForward: path } = pathsOf(layer);
    const input = layerNorm(`${block}.ln_2`, x, config.normEpsilon, scope);
    return scope.residual(path, x, plainFeedForward(path, input, config.activation, scope, NAMES));
  },

  usualTargets: {
    attention: ["c_attn"],
    scaledOutputs: ["c_attn"],
    scaledInputs: ["mlp.c_proj"],
  },
  basePrefix: "transformer",
  // The causal mask, and the number for what it hides.
  ignoredTensors: /\.attn\.(masked_)?bias$/,
};
