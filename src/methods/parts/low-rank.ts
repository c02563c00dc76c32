// Changes of a linear module that are products: beside the frozen product, or within its weight.

import { add, linear, multiply, type Tensor } from "../../tensor/index.ts";
import type { MethodScope } from "../method.ts";
import type { LinearModule } from "../targets.ts";

/**
 * B (s ∘ A x) for rows x [rows, in], with A [rank, in] and B [out, rank].
 * @param scale s, one number or [1, rank]; it goes where the tensor is smallest
 */
export const lowRank = (x: Tensor, a: Tensor, b: Tensor, scale: Tensor): Tensor =>
  linear(multiply(linear(x, a), scale), b);

/** (W + ΔW) x + b: one product of the weight's size where adding ΔW x would take two. */
export function linearWith(
  { path, hasBias }: LinearModule,
  change: Tensor,
  x: Tensor,
  scope: MethodScope,
): Tensor {
  const y = linear(x, add(scope.weight(`${path}.weight`), change));
  return hasBias ? add(y, scope.weight(`${path}.bias`)) : y;
}
