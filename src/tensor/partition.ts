// Deciding what the forward pass hands to the backward pass. Whatever is not saved is recomputed,
// simply because the backward graph reaches down through it to what is.

import { sameShape, type Tensor } from "./tensor.ts";
import { topologicalOrder } from "./traverse.ts";

/**
 * Which tensors of the forward graph to save: walking down from the backward outputs, the first
 * ones on each path that are `worthSaving`.
 */
export function chooseSaved(
  forwardOutputs: readonly Tensor[],
  backwardOutputs: readonly Tensor[],
  worthSaving: (tensor: Tensor) => boolean,
): Tensor[] {
  const candidates = new Set(topologicalOrder(forwardOutputs).filter(worthSaving));
  return topologicalOrder(backwardOutputs, candidates).filter((tensor) => candidates.has(tensor));
}

/**
 * Saves what costs many operations an element to make again: products over a long inner axis, or
 * the sum that such a product goes into, which is as large and saves the addition too.
 * A recomputed element of a product costs 2 · inner operations, one of an element-wise operator
 * one or a few; attention scores lie between, and are larger than all else for long sequences.
 */
export function isCostly(minimumInnerLength: number): (tensor: Tensor) => boolean {
  const costly = (tensor: Tensor): boolean => {
    if (tensor.operator === "add")
      return tensor.inputs.some((part) => costly(part) && sameShape(part.shape, tensor.shape));
    if (tensor.operator !== "matmul" && tensor.operator !== "integerMatmul") return false;
    const left = tensor.inputs[0]!.shape;
    const transposed = tensor.operator === "matmul" && tensor.attributes.transposeA;
    return (transposed ? left.at(-2)! : left.at(-1)!) >= minimumInnerLength;
  };
  return costly;
}
