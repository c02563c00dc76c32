// An invertible adapter (MAD-X, Pfeiffer et al. 2020): the additive coupling block of NICE (Dinh et al.
// 2014) on what the first block reads, y₁ = x₁ + F(x₂), y₂ = x₂ + G(y₁), and its inverse.

import { add, concat, slice, subtract, type Tensor } from "../../tensor/index.ts";
import type { MethodScope, ParameterSpec } from "../method.ts";
import { type DenseLayer, dense } from "../parts/dense-layer.ts";
import { normalSpec, zeroSpec } from "../parts/initial-values.ts";
import { applyNonLinearity, type NonLinearity } from "../parts/non-linearity.ts";

export interface CouplingBlock {
  readonly parameters: readonly ParameterSpec[];
  /** Of x [rows, width]. */
  forward(x: Tensor, scope: MethodScope): Tensor;
  inverse(x: Tensor, scope: MethodScope): Tensor;
}

/** @param key its prefix in the file, such as `model.invertible_adapters.task` */
export function couplingBlock(
  key: string,
  width: number,
  reductionFactor: number,
  activation: NonLinearity,
): CouplingBlock {
  const first = Math.floor(width / 2);
  const second = width - first;
  const layer = (name: string, inputs: number, outputs: number): DenseLayer => ({
    weight: normalSpec(`${key}.${name}.weight`, [outputs, inputs], 0.02),
    bias: zeroSpec(`${key}.${name}.bias`, [outputs]),
  });
  const network = (name: string, inputs: number, outputs: number) => {
    const inner = Math.floor(inputs / reductionFactor);
    return [layer(`${name}.0`, inputs, inner), layer(`${name}.2`, inner, outputs)] as const;
  };
  const f = network("F", second, first);
  const g = network("G", first, second);
  const run = ([down, up]: typeof f, x: Tensor, scope: MethodScope) =>
    dense(applyNonLinearity(activation, dense(x, down, scope)), up, scope);
  const halves = (x: Tensor) => [slice(x, 1, 0, first), slice(x, 1, first, width)] as const;
  return {
    parameters: [...f, ...g].flatMap(({ weight, bias }) => [weight, bias]),
    forward(x, scope) {
      const [x1, x2] = halves(x);
      const y1 = add(x1, run(f, x2, scope));
      return concat([y1, add(x2, run(g, y1, scope))], 1);
    },
    inverse(y, scope) {
      const [y1, y2] = halves(y);
      const x2 = subtract(y2, run(g, y1, scope));
      return concat([subtract(y1, run(f, x2, scope)), x2], 1);
    },
  };
}
