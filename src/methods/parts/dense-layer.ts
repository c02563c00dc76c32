// A linear layer that a method brings: x Wᵀ + b.

import { add, linear, type Tensor } from "../../tensor/index.ts";
import type { MethodScope, ParameterSpec } from "../method.ts";

export interface DenseLayer {
  /** [out, in] */
  readonly weight: ParameterSpec;
  /** [out] */
  readonly bias: ParameterSpec;
}

export const dense = (x: Tensor, { weight, bias }: DenseLayer, scope: MethodScope): Tensor =>
  add(linear(x, scope.parameter(weight)), scope.parameter(bias));
