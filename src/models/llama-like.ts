// The decoder that LLaMA and its kin share: RMS norms, rotary embedding, grouped-query attention, two
// halves one after the other. What sets one apart is data: where its norms are, how queries and keys are
// made, how far a position looks back, and the feed-forward. Reference: Transformers' `modeling_llama`.

import type { Tensor } from "../tensor/index.ts";
import type {
  Architecture,
  BlockPaths,
  Reach,
  Routed,
  Scope,
  SparseFeedForward,
  UsualTargets,
  WeightSpec,
} from "./architecture.ts";
import {
  type BlockNorms,
  type HalfNorms,
  type NormOffset,
  normed,
  normedInParts,
  normWeight,
  PRE_NORMS,
} from "./block-norms.ts";
import { type ConfigReader, readerFor } from "./config-reader.ts";
import { runEveryExpert } from "./experts.ts";
import type { LlamaLikeConfig } from "./llama-config.ts";
import { type Projections, separateProjections } from "./projections.ts";
import { rotaryTables } from "./rope.ts";

/** What stands behind the attention: from what its half is given to what joins the residual stream. */
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
  /** The path of what is without the output matrix. Default `model`. */
  readonly base?: string;
  /** See `Architecture`. */
  readonly covers: string;
  readConfig(reader: ConfigReader): Config;
  readonly feedForward: FeedForward<Config>;
  /** Default: a matrix each, without biases. */
  readonly projections?: Projections<Config>;
  /** Default: in front of both halves. */
  readonly norms?: BlockNorms;
  /** Default 0. */
  readonly normOffset?: NormOffset;
  /** Whether queries and keys are normed before they are rotated: each head (Qwen3), or all as one row (OLMo 2). */
  readonly queryKeyNorms?: "heads" | "rows";
  /** See `Architecture`. */
  readonly rotatesNeighbours?: true;
  readonly usualTargets?: Partial<UsualTargets>;
  readonly auxiliaryLoss?: NonNullable<Architecture<Config>["auxiliaryLoss"]>;
}

/** The architecture of a variant. */
export function llamaLike<Config extends LlamaLikeConfig>(
  variant: Variant<Config>,
): Architecture<Config> {
  const { base = "model", feedForward, norms = PRE_NORMS, normOffset = 0, queryKeyNorms } = variant;
  const embeddingName = `${base}.embed_tokens.weight`;
  const projections = variant.projections ?? separateProjections;
  const pathsOf = (layer: number) => {
    const block = `${base}.layers.${layer}`;
    const feedForwardPath = `${block}.${feedForward.name}`;
    return { block, attention: `${block}.self_attn`, feedForward: feedForwardPath };
  };
  const norm = (config: Config, path: string, x: Tensor, scope: Scope) =>
    normed(path, x, config.normEpsilon, normOffset, scope);
  /** The norm of that name in a block, where there is one. */
  const blockNorm = (
    config: Config,
    layer: number,
    name: string | undefined,
    x: Tensor,
    scope: Scope,
  ) => (name === undefined ? x : norm(config, `${pathsOf(layer).block}.${name}`, x, scope));

  const queryKeyNorm = (config: Config, path: string, x: Tensor, scope: Scope) => {
    if (!queryKeyNorms) return x;
    const width = queryKeyNorms === "heads" ? config.headSize : x.shape[1]!;
    return normedInParts(x, width, (rows) => norm(config, path, rows, scope));
  };
  const queryKeyNormWeights = (config: Config, path: string): WeightSpec[] => {
    if (!queryKeyNorms) return [];
    const { heads, keyValueHeads, headSize } = config;
    const widthOf = (count: number) => (queryKeyNorms === "heads" ? 1 : count) * headSize;
    return [
      normWeight(`${path}.q_norm`, widthOf(heads)),
      normWeight(`${path}.k_norm`, widthOf(keyValueHeads)),
    ];
  };
  /** How far a layer looks back: as far as the window, where all have one. */
  const reachOf = ({ reaches, slidingWindow }: Config, layer: number): Reach =>
    reaches?.[layer] ?? (slidingWindow === undefined ? "global" : "local");
  const namesOf = ({ before, after }: HalfNorms) =>
    [before, after].filter((name) => name !== undefined);
  const routedOf = (config: Config, layer: number) =>
    feedForward.routed?.(config, layer, pathsOf(layer).feedForward);

  const sparse = (config: Config, layer: number): SparseFeedForward | undefined => {
    const routed = routedOf(config, layer);
    if (!routed) return undefined;
    const { before, after } = norms.feedForward;
    return {
      count: routed.count,
      enter: (x, scope) => routed.route(blockNorm(config, layer, before, x, scope), scope),
      expert: routed.expert,
      leave: (x, output, scope) =>
        scope.residual(
          pathsOf(layer).feedForward,
          x,
          blockNorm(config, layer, after, output, scope),
        ),
    };
  };

  return {
    modelTypes: [variant.modelType],
    covers: variant.covers,

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
          ...[...namesOf(norms.attention), ...namesOf(norms.feedForward)].map((name) =>
            normWeight(`${block}.${name}`, hidden),
          ),
          ...projections.weights(config, attention),
          ...queryKeyNormWeights(config, attention),
          ...feedForward.weights(config, layer, path),
        ];
      });
      const matrix = [config.vocabularySize, hidden];
      return [
        { name: embeddingName, shape: matrix, role: "embedding" },
        ...blocks.flat(),
        normWeight(`${base}.norm`, hidden),
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
      const path = pathsOf(layer).attention;
      const reach = reachOf(config, layer);
      const { attentionScale: scale = 1 / Math.sqrt(config.headSize), scoreCap } = config;
      const { before, after } = norms.attention;
      const input = blockNorm(config, layer, before, x, scope);
      const { queries, keys, values } = projections.run(config, path, input, scope);
      const prepared = (name: string, states: Tensor, heads: number) =>
        scope.rotate(queryKeyNorm(config, `${path}.${name}`, states, scope), heads, reach);
      const attended = scope.attend({
        path,
        input,
        queries: prepared("q_norm", queries, config.heads),
        keys: prepared("k_norm", keys, config.keyValueHeads),
        values,
        scale,
        ...(scoreCap !== undefined && { scoreCap }),
        reach,
      });
      const output = scope.linear(`${path}.o_proj`, attended);
      return scope.residual(path, x, blockNorm(config, layer, after, output, scope));
    },

    feedForward(config, layer, x, scope) {
      const experts = sparse(config, layer);
      if (experts) return runEveryExpert(experts, x, scope);
      const path = pathsOf(layer).feedForward;
      const { before, after } = norms.feedForward;
      const input = blockNorm(config, layer, before, x, scope);
      const output = scope.module(path, input, (states) =>
        feedForward.run!(config, layer, path, states, scope),
      );
      return scope.residual(path, x, blockNorm(config, layer, after, output, scope));
    },

    sparse,
    ...(variant.rotatesNeighbours && { rotatesNeighbours: true as const }),
    ...(variant.usualTargets && { usualTargets: variant.usualTargets }),
    ...(variant.auxiliaryLoss && { auxiliaryLoss: variant.auxiliaryLoss }),

    finalNorm: (config, x, scope) => norm(config, `${base}.norm`, x, scope),

    embeddingName,
    outputPath: "lm_head",
    outputName: (config) => (config.tiedHead ? embeddingName : "lm_head.weight"),
    logitShape: ({ logitCap: cap }) => (cap === undefined ? {} : { cap }),
    rotaryTables: ({ rope, localRope = rope }, length, reach) =>
      rotaryTables(reach === "local" ? localRope : rope, length),
  };
}
