// The gated feed-forward (Shazeer 2020): down(silu(gate x) · up x), or with another activation than silu.
// A dense block has one, a block of experts has one an expert.

import { multiply, slice, type Tensor } from "../tensor/index.ts";
import { type ActivationName, activate } from "./activations.ts";
import type { Scope, WeightSpec } from "./architecture.ts";
import { linearWeights } from "./linear-weights.ts";
import type { LlamaLikeConfig } from "./llama-config.ts";

/** How a checkpoint calls the three products. */
export interface SwigluNames {
  readonly gate: string;
  readonly up: string;
  readonly down: string;
}

const SWIGLU_NAMES: SwigluNames = { gate: "gate_proj", up: "up_proj", down: "down_proj" };

/** @param x [rows, hidden] */
export function swiglu(
  path: string,
  x: Tensor,
  scope: Scope,
  names = SWIGLU_NAMES,
  activation: ActivationName = "silu",
): Tensor {
  const gate = activate(activation, scope.linear(`${path}.${names.gate}`, x));
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
  run: (config: DenseConfig, _layer: number, path: string, x: Tensor, scope: Scope) =>
    swiglu(path, x, scope, SWIGLU_NAMES, config.activation),
};

/** The same with gate and up as rows of one matrix, `gate_up_proj` (Phi-3). */
export const fusedSwiglu = {
  name: "mlp",
  weights: (
    { hiddenSize: hidden, intermediateSize: inner }: DenseConfig,
    _: number,
    path: string,
  ) => [
    ...linearWeights(`${path}.gate_up_proj`, 2 * inner, hidden),
    ...linearWeights(`${path}.down_proj`, hidden, inner),
  ],
  run(config: DenseConfig, _layer: number, path: string, x: Tensor, scope: Scope): Tensor {
    const { intermediateSize: inner, activation } = config;
    const both = scope.linear(`${path}.gate_up_proj`, x);
    const gate = activate(activation, slice(both, 1, 0, inner));
    return scope.linear(`${path}.down_proj`, multiply(gate, slice(both, 1, inner, 2 * inner)));
  },
};
