// The gates of UniPELT (Mao et al. 2022, section 3.2) as AdapterHub's library computes them: a sigmoid
// at each position, averaged over the whole row, so that each row has one number for each module.

import { multiply, reshape, sigmoid, type Tensor } from "../../tensor/index.ts";
import type { MethodScope } from "../method.ts";
import { type DenseLayer, dense } from "../parts/dense-layer.ts";
import { normalSpec, uniformSpec, zeroSpec } from "../parts/initial-values.ts";

/** A gate's layer; "uniform" is a start as PyTorch's linear layers have it. */
export const gateLayer = (
  key: string,
  inputs: number,
  outputs: number,
  bias: "uniform" | "zero",
  weight: "uniform" | "small" = "small",
): DenseLayer => ({
  weight:
    weight === "small"
      ? normalSpec(`${key}.weight`, [outputs, inputs], 0.02)
      : uniformSpec(`${key}.weight`, [outputs, inputs], inputs),
  bias:
    bias === "zero"
      ? zeroSpec(`${key}.bias`, [outputs])
      : uniformSpec(`${key}.bias`, [outputs], inputs),
});

/** [batch, 1, gates] of the gate's input [batch · sequence, width]. */
export const rowGate = (x: Tensor, gate: DenseLayer, scope: MethodScope): Tensor =>
  scope.rowMean(sigmoid(dense(x, gate, scope)));

/** x [batch · sequence, width] times one number a row, [batch, 1, 1]. */
export function scaleRows(x: Tensor, factors: Tensor, scope: MethodScope): Tensor {
  const rows = reshape(x, [scope.batch, scope.sequence, x.shape[1]!]);
  return reshape(multiply(rows, factors), x.shape);
}
