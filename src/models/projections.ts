// Queries, keys and values, and what joins the heads' outputs: one matrix each, or the three in one.

import { slice, type Tensor } from "../tensor/index.ts";
import type { Scope, WeightSpec } from "./architecture.ts";
import { linearWeights } from "./linear-weights.ts";
import type { AttentionProjection, LlamaLikeConfig } from "./llama-config.ts";

/** How an attention's inputs are made, from normed states [rows, hidden]; its output is `o_proj`'s. */
export interface Projections<Config> {
  weights(config: Config, path: string): WeightSpec[];
  /** [rows, heads · headSize], and of keys and values [rows, keyValueHeads · headSize]. */
  run(config: Config, path: string, x: Tensor, scope: Scope): QueriesKeysValues;
}

export interface QueriesKeysValues {
  readonly queries: Tensor;
  readonly keys: Tensor;
  readonly values: Tensor;
}

const widthsOf = ({ heads, keyValueHeads, headSize }: LlamaLikeConfig) => ({
  queryWidth: heads * headSize,
  keyWidth: keyValueHeads * headSize,
});

/** A matrix each. */
export const separateProjections: Projections<LlamaLikeConfig> = {
  weights(config, path) {
    const { hiddenSize: hidden } = config;
    const { queryWidth, keyWidth } = widthsOf(config);
    const { biasedProjections: biased = [] } = config;
    const shapes: [AttentionProjection, output: number, input: number][] = [
      ["q_proj", queryWidth, hidden],
      ["k_proj", keyWidth, hidden],
      ["v_proj", keyWidth, hidden],
      ["o_proj", hidden, queryWidth],
    ];
    return shapes.flatMap(([name, output, input]) =>
      linearWeights(`${path}.${name}`, output, input, biased.includes(name)),
    );
  },
  run: (_config, path, x, scope) => ({
    queries: scope.linear(`${path}.q_proj`, x),
    keys: scope.linear(`${path}.k_proj`, x),
    values: scope.linear(`${path}.v_proj`, x),
  }),
};

/** The three as rows of one matrix, `qkv_proj` (Phi-3). */
export const fusedProjections: Projections<LlamaLikeConfig> = {
  weights(config, path) {
    const { queryWidth, keyWidth } = widthsOf(config);
    // In the order of Transformers' modules, by which PEFT's X-LoRA counts them.
    return [
      ...linearWeights(`${path}.o_proj`, config.hiddenSize, queryWidth),
      ...linearWeights(`${path}.qkv_proj`, queryWidth + 2 * keyWidth, config.hiddenSize),
    ];
  },
  run(config, path, x, scope) {
    const { queryWidth, keyWidth } = widthsOf(config);
    const all = scope.linear(`${path}.qkv_proj`, x);
    const part = (start: number, width: number) => slice(all, 1, start, start + width);
    return {
      queries: part(0, queryWidth),
      keys: part(queryWidth, keyWidth),
      values: part(queryWidth + keyWidth, keyWidth),
    };
  },
};
