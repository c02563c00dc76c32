// Layer norm (Ba et al. 2016): an RMS norm of what is left when the mean is taken away, and a bias.

import { add, meanLast, rmsNorm, subtract, type Tensor } from "../tensor/index.ts";
import type { Scope, WeightSpec } from "./architecture.ts";

/** @param x [rows, width] */
export function layerNorm(path: string, x: Tensor, epsilon: number, scope: Scope): Tensor {
  const centred = subtract(x, meanLast(x));
  return add(
    rmsNorm(centred, scope.weight(`${path}.weight`), epsilon),
    scope.weight(`${path}.bias`),
  );
}

/** Weight and bias, [width] each. */
export const layerNormWeights = (path: string, width: number): WeightSpec[] => [
  { name: `${path}.weight`, shape: [width], role: "norm" },
  { name: `${path}.bias`, shape: [width], role: "bias" },
];
