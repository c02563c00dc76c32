// Activation functions by the names that config.json has for them. Reference: Transformers'
// `activations.py`.

import {
  constant,
  gelu,
  geluTanh,
  multiply,
  relu,
  sigmoid,
  silu,
  type Tensor,
} from "../tensor/index.ts";
import type { ConfigReader } from "./config-reader.ts";

const ACTIVATIONS = {
  silu,
  swish: silu,
  relu,
  gelu,
  gelu_new: geluTanh,
  gelu_fast: geluTanh,
  gelu_pytorch_tanh: geluTanh,
  quick_gelu: (x: Tensor): Tensor => multiply(x, sigmoid(multiply(x, constant(1.702)))),
} as const;

export type ActivationName = keyof typeof ACTIVATIONS;

/** @param x any shape; element by element */
export const activate = (name: ActivationName, x: Tensor): Tensor => ACTIVATIONS[name](x);

/** The activation that `key` names. Others are a fault of the reader's. */
export function readActivation(
  reader: ConfigReader,
  key: string,
  fallback: ActivationName,
): ActivationName {
  return reader.choice(key, Object.keys(ACTIVATIONS) as ActivationName[], fallback);
}
