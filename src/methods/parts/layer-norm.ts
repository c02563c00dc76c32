// Layer normalisation (Ba et al. 2016) with a trained weight and bias, as PyTorch's `nn.LayerNorm`.

import {
  add,
  constant,
  divide,
  meanLast,
  multiply,
  sqrt,
  subtract,
  type Tensor,
} from "../../tensor/index.ts";
import type { MethodScope, ParameterSpec } from "../method.ts";
import { filledSpec } from "./initial-values.ts";

export interface LayerNorm {
  readonly weight: ParameterSpec;
  readonly bias: ParameterSpec;
}

const EPSILON = 1e-5;

export const layerNorm = (key: string, width: number): LayerNorm => ({
  weight: filledSpec(`${key}.weight`, [width], 1),
  bias: filledSpec(`${key}.bias`, [width], 0),
});

/** Each row of x [rows, width] with mean 0 and variance 1, times the weight, plus the bias. */
export function applyLayerNorm(x: Tensor, norm: LayerNorm, scope: MethodScope): Tensor {
  const centred = subtract(x, meanLast(x));
  const variance = meanLast(multiply(centred, centred));
  const normed = divide(centred, sqrt(add(variance, constant(EPSILON))));
  return add(multiply(normed, scope.parameter(norm.weight)), scope.parameter(norm.bias));
}
