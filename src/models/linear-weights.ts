// The tensors of a linear module.

import type { WeightSpec } from "./architecture.ts";

/** A linear module's weight [output, input], and its bias where it has one. */
export function linearWeights(
  path: string,
  output: number,
  input: number,
  biased = false,
): WeightSpec[] {
  return [
    { name: `${path}.weight`, shape: [output, input], role: "linear" },
    ...(biased ? [{ name: `${path}.bias`, shape: [output], role: "bias" } as const] : []),
  ];
}
