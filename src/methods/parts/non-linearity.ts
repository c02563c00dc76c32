// The activation functions of bottleneck adapters, by the names that AdapterHub's files have for them.

import {
  constant,
  gelu,
  multiply,
  negate,
  relu,
  sigmoid,
  silu,
  subtract,
  type Tensor,
  tanh,
} from "../../tensor/index.ts";

const NON_LINEARITIES = {
  relu,
  gelu,
  silu,
  swish: silu,
  tanh,
  sigmoid,
  leakyrelu: (x: Tensor) => subtract(relu(x), multiply(relu(negate(x)), constant(0.01))),
  linear: (x: Tensor) => x,
} as const;

export type NonLinearity = keyof typeof NON_LINEARITIES;

export const nonLinearityNames = Object.keys(NON_LINEARITIES) as NonLinearity[];

export const applyNonLinearity = (name: NonLinearity, x: Tensor): Tensor =>
  NON_LINEARITIES[name](x);
