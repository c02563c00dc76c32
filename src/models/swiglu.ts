// The gated feed-forward (Shazeer 2020): down(silu(gate x) · up x). A dense block has one, a block of
// experts has one an expert.

import { multiply, silu, type Tensor } from "../tensor/index.ts";
import type { Scope, WeightSpec } from "./architecture.ts";
import { type LlamaLikeConfig, linearWeights } from "./llama-like.ts";

/** How a checkpoint calls the three products. */
export interface SwigluNames {
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

export const SWIGLU_NAMES: SwigluNames = { gate: "gate_proj", up: "up_proj", down: "down_proj" };

/** @param x [rows, hidden] */
export function swiglu(path: string, x: Tensor, scope: Scope, names = SWIGLU_NAMES): Tensor {
  const gate = silu(scope.linear(`${path}.${names.gate}`, x));
  const up = scope.linear(`${path}.${names.up}`, x);
  return scope.linear(`${path}.${names.down}`, multiply(gate, up));
}

/** Gate and up [inner, hidden], down [hidden, inner]. */
export function swigluWeights(
  path: string,
  hidden: number,
  inner: number,
  { names = SWIGLU_NAMES, biased = false }: { names?: SwigluNames; biased?: boolean } = {},
): WeightSpec[] {
  return [
    ...linearWeights(`${path}.${names.gate}`, inner, hidden, biased),
    ...linearWeights(`${path}.${names.up}`, inner, hidden, biased),
    ...linearWeights(`${path}.${names.down}`, hidden, inner, biased),
  ];
}

export interface DenseConfig extends LlamaLikeConfig {
  readonly intermediateSize: number;
  readonly mlpBias?: boolean;
}

/** The feed-forward of a dense block. */
export const denseSwiglu = {
  name: "mlp",
  weights: (config: DenseConfig, _layer: number, path: string) =>
    swigluWeights(path, config.hiddenSize, config.intermediateSize, { biased: config.mlpBias }),
  run: (_config: DenseConfig, _layer: number, path: string, x: Tensor, scope: Scope) =>
    swiglu(path, x, scope),
};
