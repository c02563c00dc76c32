// The two products of a bottleneck adapter, whatever their weights are made of.

import { add, linear, multiply, reshape, type Tensor } from "../../tensor/index.ts";
import type { MethodScope, ParameterSpec } from "../method.ts";
import { type DenseLayer, dense } from "./dense-layer.ts";

export interface Product {
  readonly parameters: readonly ParameterSpec[];
  /**
   * [rows, out] of x [rows, in].
   * @param scale a factor on the output, one number or [out]; it goes into the weight, which is small
   */
  apply(x: Tensor, scope: MethodScope, scale?: Tensor): Tensor;
}

export const denseProduct = (layer: DenseLayer): Product => ({
  parameters: [layer.weight, layer.bias],
  apply(x, scope, scale) {
    if (!scale) return dense(x, layer, scope);
    const weight = scope.parameter(layer.weight);
    const scaled = multiply(weight, reshape(scale, [scale.shape[0] ?? 1, 1]));
    return add(linear(x, scaled), multiply(scope.parameter(layer.bias), scale));
  },
});
