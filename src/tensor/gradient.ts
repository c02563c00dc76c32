// Reverse-mode differentiation: from the gradient of outputs to that of inputs, as more graph.

import { accumulate, gradientsOf } from "./gradient-rules.ts";
import type { Tensor } from "./tensor.ts";
import { topologicalOrder } from "./traverse.ts";

/**
 * Gradients of Σ output · seed with respect to each of `wanted`.
 * @param outputs pairs of an output and the gradient that arrives at it (same shape)
 * @returns one tensor for each wanted input, undefined where no output depends on it
 */
export function gradient(
  outputs: readonly (readonly [output: Tensor, seed: Tensor])[],
  wanted: readonly Tensor[],
): (Tensor | undefined)[] {
  const order = topologicalOrder(outputs.map(([output]) => output));
  const targets = new Set(wanted);
  // Only what lies between a wanted input and an output takes part.
  const matters = new Set<Tensor>();
  for (const tensor of order)
    if (targets.has(tensor) || tensor.inputs.some((source) => matters.has(source)))
      matters.add(tensor);

  const gradients = new Map<Tensor, Tensor>();
  const arrive = (tensor: Tensor, value: Tensor) => {
    const before = gradients.get(tensor);
    gradients.set(tensor, before ? accumulate(before, value) : value);
  };
  for (const [output, seed] of outputs) arrive(output, seed);
  for (const tensor of order.reverse()) {
    const arrived = gradients.get(tensor);
    if (!arrived || !matters.has(tensor) || tensor.inputs.length === 0) continue;
    const rules = gradientsOf(tensor, arrived);
    tensor.inputs.forEach((source, index) => {
      if (!matters.has(source)) return;
      const value = rules[index]?.();
      if (value) arrive(source, value);
    });
  }
  return wanted.map((tensor) => gradients.get(tensor));
}
