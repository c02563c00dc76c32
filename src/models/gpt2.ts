// GPT-2 (Radford et al. 2019): learned positions, layer norms, one product for queries, keys and values,
// matrices that files hold as [in, out]. Reference: Transformers' `modeling_gpt2`.

import { add, gatherRows } from "../tensor/index.ts";
import { type ActivationName, readActivation } from "./activations.ts";
import type { Architecture, Dimensions, WeightSpec } from "./architecture.ts";
import { readerFor } from "./config-reader.ts";
import { splitHeads } from "./fused-projection.ts";
import { layerNorm, layerNormWeights } from "./layer-norm.ts";
import { linearWeights } from "./linear-weights.ts";
import { plainFeedForward, plainWeights } from "./plain-feed-forward.ts";

interface Gpt2Config extends Dimensions {
  readonly intermediateSize: number;
  readonly activation: ActivationName;
  readonly normEpsilon: number;
  readonly tiedHead: boolean;
  /** Whether scores are divided by the root of the head size, and by the number of the layer. */
  readonly scalesByHead: boolean;
  readonly scalesByLayer: boolean;
}

const EMBEDDING = "transformer.wte.weight";
const POSITIONS = "transformer.wpe.weight";
const NAMES = { up: "c_fc", down: "c_proj" };
const pathsOf = (layer: number) => {
  const block = `transformer.h.${layer}`;
  return { block, attention: `${block}.attn`, feedForward: `${block}.mlp` };
};

export const gpt2: Architecture<Gpt2Config> = {
  modelTypes: ["gpt2"],
  covers: "GPT-2",

  readConfig(json) {
    const reader = readerFor(json);
    const hiddenSize = reader.integer("n_embd", 768);
    const heads = reader.integer("n_head", 12);
    if (hiddenSize % heads !== 0) reader.fault("n_head", "must divide n_embd");
    reader.only("add_cross_attention", false);
    const config = {
      layers: reader.integer("n_layer", 12),
      hiddenSize,
      vocabularySize: reader.integer("vocab_size", 50257),
      heads,
      keyValueHeads: heads,
      headSize: hiddenSize / heads,
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

  dimensions: (config) => config,

  weights(config) {
    const { hiddenSize: hidden, vocabularySize, maximumPositions, intermediateSize } = config;
    const turned = (weight: WeightSpec): WeightSpec =>
      weight.role === "linear" ? { ...weight, isTransposed: true } : weight;
    const blocks = Array.from({ length: config.layers }, (_, layer) => {
      const { block, attention, feedForward } = pathsOf(layer);
      return [
        ...layerNormWeights(`${block}.ln_1`, hidden),
        ...linearWeights(`${attention}.c_attn`, 3 * hidden, hidden, true).map(turned),
        ...linearWeights(`${attention}.c_proj`, hidden, hidden, true).map(turned),
        ...layerNormWeights(`${block}.ln_2`, hidden),
        ...plainWeights(feedForward, hidden, intermediateSize, true, NAMES).map(turned),
      ];
    });
    const matrix = [vocabularySize, hidden];
    return [
      { name: EMBEDDING, shape: matrix, role: "embedding" },
      { name: POSITIONS, shape: [maximumPositions, hidden], role: "positions" },
      ...blocks.flat(),
      ...layerNormWeights("transformer.ln_f", hidden),
      ...(config.tiedHead
        ? []
        : [{ name: "lm_head.weight", shape: matrix, role: "output" as const }]),
    ];
  },

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

  finalNorm: (config, x, scope) => layerNorm("transformer.ln_f", x, config.normEpsilon, scope),

  embeddingName: EMBEDDING,
  outputPath: "lm_head",
  outputName: (config) => (config.tiedHead ? EMBEDDING : "lm_head.weight"),
  rotaryTables: () => ({ cosines: new Float32Array(), sines: new Float32Array() }),
  usualTargets: {
    attention: ["c_attn"],
    scaledOutputs: ["c_attn"],
    scaledInputs: ["mlp.c_proj"],
  },
  basePrefix: "transformer",
  // The causal mask, and the number for what it hides.
  ignoredTensors: /\.attn\.(masked_)?bias$/,
};
