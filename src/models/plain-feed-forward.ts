// The feed-forward without a gate (Vaswani et al. 2017): down(activation(up x)).

import type { Tensor } from "../tensor/index.ts";
import { type ActivationName, activate } from "./activations.ts";
import type { Scope, WeightSpec } from "./architecture.ts";
import { linearWeights } from "./linear-weights.ts";

/** How a checkpoint calls the two products. */
export interface PlainNames {
  readonly up: string;
  readonly down: string;
}

/** What Megatron's kin call them. */
export const MEGATRON_NAMES: PlainNames = { up: "dense_h_to_4h", down: "dense_4h_to_h" };

/** The module at `path`. @param x [rows, hidden] */
export function plainFeedForward(
  path: string,
  x: Tensor,
  activation: ActivationName,
  scope: Scope,
  names: PlainNames = MEGATRON_NAMES,
): Tensor {
  return scope.module(path, x, (input) => {
    const inner = activate(activation, scope.linear(`${path}.${names.up}`, input));
    return scope.linear(`${path}.${names.down}`, inner);
  });
}

/** Up [inner, hidden] and down [hidden, inner]. */
export const plainWeights = (
  path: string,
  hidden: number,
  inner: number,
  biased: boolean,
  names: PlainNames = MEGATRON_NAMES,
): WeightSpec[] => [
  ...linearWeights(`${path}.${names.up}`, inner, hidden, biased),
  ...linearWeights(`${path}.${names.down}`, hidden, inner, biased),
];
