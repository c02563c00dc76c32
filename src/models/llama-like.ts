// The decoder that LLaMA and its kin share: pre-norm blocks, rotary embedding, grouped-query attention,
// RMS norms. What sets one apart is data: which projections have a bias, whether heads are normed, how
// far a position looks back, and the feed-forward. Reference: Transformers' `modeling_llama`.

import { reshape, rmsNorm, sizeOf, type Tensor } from "../tensor/index.ts";
import type {
  Architecture,
  BlockPaths,
  Dimensions,
  Reach,
  Routed,
  Scope,
  SparseFeedForward,
  UsualTargets,
  WeightSpec,
} from "./architecture.ts";
import { type ConfigReader, readerFor } from "./config-reader.ts";
import { runEveryExpert } from "./experts.ts";
import { type RopeConfig, readRope, rotaryTables } from "./rope.ts";

/** What every one of them is made of. */
export interface LlamaLikeConfig extends Dimensions {
  readonly normEpsilon: number;
  readonly tiedHead: boolean;
  readonly rope: RopeConfig;
}

export type AttentionProjection = "q_proj" | "k_proj" | "v_proj" | "o_proj";

/** What stands behind the attention: from normed states to what joins the residual stream. */
export interface FeedForward<Config> {
  /** The module's name within its block. */
  readonly name: string;
  weights(config: Config, layer: number, path: string): WeightSpec[];
  run?(config: Config, layer: number, path: string, x: Tensor, scope: Scope): Tensor;
  /** Where a layer routes its rows to experts, in place of `run`. */
  routed?(config: Config, layer: number, path: string): RoutedPart | undefined;
}

/** Experts of a layer, on normed states. */
export interface RoutedPart extends Pick<SparseFeedForward, "count" | "expert"> {
  /** Names within the feed-forward's path. */
  readonly router: string;
  readonly experts: string;
  route(x: Tensor, scope: Scope): Routed;
}

/** What one architecture has of its own. */
export interface Variant<Config extends LlamaLikeConfig> {
  readonly modelType: string;
  readConfig(reader: ConfigReader): Config;
  readonly feedForward: FeedForward<Config>;
  biasedProjections?(config: Config): readonly AttentionProjection[];
  /** How far a layer looks back. Default: local where the config has a window. */
  reach?(config: Config, layer: number): Reach;
  /** Whether queries and keys are normed head by head before they are rotated (Qwen3). */
  readonly normsHeads?: true;
  readonly usualTargets?: Partial<UsualTargets>;
  readonly auxiliaryLoss?: NonNullable<Architecture<Config>["auxiliaryLoss"]>;
}

/** Values of fields that config.json may leave out; what has none must be there. */
export interface Defaults {
  readonly normEpsilon: number;
  readonly theta?: number;
  readonly headSize?: number;
  readonly keyValueHeads?: "heads";
  readonly maximumPositions?: number;
}

/** The fields that all have. Faults are the reader's, to be thrown by its `finish`. */
export function readLlamaLike(reader: ConfigReader, defaults: Defaults): LlamaLikeConfig {
  const hiddenSize = reader.integer("hidden_size");
  const heads = reader.integer("num_attention_heads");
  const keyValueHeads = reader.integer(
    "num_key_value_heads",
    defaults.keyValueHeads === "heads" ? heads : undefined,
  );
  const headSize = reader.integer("head_dim", defaults.headSize ?? hiddenSize / heads);
  const maximumPositions = reader.integer("max_position_embeddings", defaults.maximumPositions);
  if (heads % keyValueHeads !== 0)
    reader.fault("num_key_value_heads", "must divide num_attention_heads");
  if (headSize % 2 !== 0) reader.fault("head_dim", "must be even");
  reader.choice("hidden_act", ["silu", "swish"], "silu");
  return {
    layers: reader.integer("num_hidden_layers"),
    hiddenSize,
    vocabularySize: reader.integer("vocab_size"),
    heads,
    keyValueHeads,
    headSize,
    maximumPositions,
    normEpsilon: reader.number("rms_norm_eps", defaults.normEpsilon),
    tiedHead: reader.boolean("tie_word_embeddings", false),
    rope: readRope(reader, headSize, maximumPositions, { theta: defaults.theta }),
  };
}

/** A linear module's weight [output, input], and its bias where it has one. */
export function linearWeights(
  path: string,
  output: number,
  input: number,
  biased = false,
): WeightSpec[] {
  return [
    { name: `${path}.weight`, shape: [output, input], role: "linear" },
    ...(biased ? [{ name: `${path}.bias`, shape: [output], role: "bias" } as const] : []),
  ];
}

/** All layers look back over the window, where there is one. */
const windowReach = ({ slidingWindow }: Dimensions): Reach =>
  slidingWindow === undefined ? "global" : "local";

/** The architecture of a variant. */
export function llamaLike<Config extends LlamaLikeConfig>(
  variant: Variant<Config>,
): Architecture<Config> {
  const { feedForward, biasedProjections = () => [], normsHeads } = variant;
  const { reach: reachOf = windowReach } = variant;
  const pathsOf = (layer: number) => {
    const block = `model.layers.${layer}`;
    const feedForwardPath = `${block}.${feedForward.name}`;
    return { block, attention: `${block}.self_attn`, feedForward: feedForwardPath };
  };
  const norm = (name: string, size: number): WeightSpec => ({
    name: `${name}.weight`,
    shape: [size],
    role: "norm",
  });
  const attentionWeights = (config: Config, path: string): WeightSpec[] => {
    const { hiddenSize: hidden, headSize } = config;
    const [queryWidth, keyWidth] = [config.heads * headSize, config.keyValueHeads * headSize];
    const biased = biasedProjections(config);
    const shapes: [AttentionProjection, output: number, input: number][] = [
      ["q_proj", queryWidth, hidden],
      ["k_proj", keyWidth, hidden],
      ["v_proj", keyWidth, hidden],
      ["o_proj", hidden, queryWidth],
    ];
    return [
      ...shapes.flatMap(([name, output, input]) =>
        linearWeights(`${path}.${name}`, output, input, biased.includes(name)),
      ),
      ...(normsHeads ? ["q_norm", "k_norm"].map((name) => norm(`${path}.${name}`, headSize)) : []),
    ];
  };
  const normed = (config: Config, path: string, x: Tensor, scope: Scope) =>
    rmsNorm(x, scope.weight(`${path}.weight`), config.normEpsilon);
  const headsNormed = (config: Config, path: string, x: Tensor, scope: Scope) => {
    if (!normsHeads) return x;
    const heads = reshape(x, [sizeOf(x.shape) / config.headSize, config.headSize]);
    return reshape(normed(config, path, heads, scope), x.shape);
  };
  const routedOf = (config: Config, layer: number) =>
    feedForward.routed?.(config, layer, pathsOf(layer).feedForward);

  const sparse = (config: Config, layer: number): SparseFeedForward | undefined => {
    const routed = routedOf(config, layer);
    if (!routed) return undefined;
    const { block, feedForward: path } = pathsOf(layer);
    return {
      count: routed.count,
      enter: (x, scope) =>
        routed.route(normed(config, `${block}.post_attention_layernorm`, x, scope), scope),
      expert: routed.expert,
      leave: (x, output, scope) => scope.residual(path, x, output),
    };
  };

  return {
    modelTypes: [variant.modelType],

    readConfig(json) {
      const reader = readerFor(json);
      const config = variant.readConfig(reader);
      reader.finish();
      return config;
    },

    dimensions: (config) => config,

    weights(config) {
      const { hiddenSize: hidden } = config;
      const blocks = Array.from({ length: config.layers }, (_, layer) => {
        const { block, attention, feedForward: path } = pathsOf(layer);
        return [
          norm(`${block}.input_layernorm`, hidden),
          norm(`${block}.post_attention_layernorm`, hidden),
          ...attentionWeights(config, attention),
          ...feedForward.weights(config, layer, path),
        ];
      });
      const matrix = [config.vocabularySize, hidden];
      return [
        { name: this.embeddingName, shape: matrix, role: "embedding" },
        ...blocks.flat(),
        norm("model.norm", hidden),
        ...(config.tiedHead
          ? []
          : [{ name: "lm_head.weight", shape: matrix, role: "output" as const }]),
      ];
    },

    blockPaths(config, layer): BlockPaths {
      const paths = pathsOf(layer);
      const routed = routedOf(config, layer);
      if (!routed) return paths;
      const within = (name: string) => `${paths.feedForward}.${name}`;
      return { ...paths, router: within(routed.router), experts: within(routed.experts) };
    },

    attention(config, layer, x, scope) {
      const { block, attention: path } = pathsOf(layer);
      const reach = reachOf(config, layer);
      const input = normed(config, `${block}.input_layernorm`, x, scope);
      const project = (name: AttentionProjection) => scope.linear(`${path}.${name}`, input);
      const queries = headsNormed(config, `${path}.q_norm`, project("q_proj"), scope);
      const keys = headsNormed(config, `${path}.k_norm`, project("k_proj"), scope);
      const attended = scope.attend({
        path,
        input,
        queries: scope.rotate(queries, config.heads, reach),
        keys: scope.rotate(keys, config.keyValueHeads, reach),
        values: project("v_proj"),
        scale: 1 / Math.sqrt(config.headSize),
        reach,
      });
      return scope.residual(path, x, scope.linear(`${path}.o_proj`, attended));
    },

    feedForward(config, layer, x, scope) {
      const experts = sparse(config, layer);
      if (experts) return runEveryExpert(experts, x, scope);
      const { block, feedForward: path } = pathsOf(layer);
      const input = normed(config, `${block}.post_attention_layernorm`, x, scope);
      const output = scope.module(path, input, (states) =>
        feedForward.run!(config, layer, path, states, scope),
      );
      return scope.residual(path, x, output);
    },

    sparse,
    ...(variant.usualTargets && { usualTargets: variant.usualTargets }),
    ...(variant.auxiliaryLoss && { auxiliaryLoss: variant.auxiliaryLoss }),

    finalNorm: (config, x, scope) => normed(config, "model.norm", x, scope),

    embeddingName: "model.embed_tokens.weight",
    outputPath: "lm_head",
    outputName: (config) => (config.tiedHead ? "model.embed_tokens.weight" : "lm_head.weight"),
    rotaryTables: (config, length) => rotaryTables(config.rope, length),
  };
}
