// Deciding what the forward pass hands to the backward pass. Whatever is not saved is recomputed,
// simply because the backward graph reaches down through it to what is.

import { sameShape, sizeOf, type Tensor } from "./tensor.ts";
import { topologicalOrder } from "./traverse.ts";

/**
 * Which tensors of the forward graph to save: walking down from the backward outputs, the first
 * ones on each path that are `worthSaving`; and instead of one that backward reads for other tensors of the
 * forward graph alone, those, where they are no larger together (queries, say, rotated and cut into blocks).
 */
export function chooseSaved(
  forwardOutputs: readonly Tensor[],
  backwardOutputs: readonly Tensor[],
  worthSaving: (tensor: Tensor) => boolean,
): Tensor[] {
  const forward = new Set(topologicalOrder(forwardOutputs));
  const candidates = new Set([...forward].filter(worthSaving));
  const backward = topologicalOrder(backwardOutputs, candidates);
  const outputs = new Set(backwardOutputs);
  const readers = new Map<Tensor, Tensor[]>();
  for (const reader of backward)
    if (!candidates.has(reader))
      for (const source of new Set(reader.inputs))
        readers.set(source, [...(readers.get(source) ?? []), reader]);
  const furthest = (tensor: Tensor): Tensor[] => {
    const next = readers.get(tensor) ?? [];
    const size = next.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    const isPassedOn =
      next.length > 0 && next.every((one) => forward.has(one) && one.dtype === tensor.dtype);
    if (!isPassedOn || size > sizeOf(tensor.shape) || outputs.has(tensor)) return [tensor];
    return next.flatMap(furthest);
  };
  const chosen = backward.filter((tensor) => candidates.has(tensor)).flatMap(furthest);
  return [...new Set(chosen)];
}

/**
 * Saves what costs many operations an element to make again: products over a long inner axis, or
 * the sum that such a product goes into, which is as large and saves the addition too.
 * A recomputed element of a product costs 2 · inner operations, one of an element-wise operator
 * one or a few; attention scores lie between, and are larger than all else for long sequences. So a product
 * within a sequence (of three axes and more) has to be smaller than what it sums over, which scores are not,
 * however large a head.
 */
export function isCostly(minimumInnerLength: number): (tensor: Tensor) => boolean {
  const costly = (tensor: Tensor): boolean => {
    if (tensor.operator === "add")
      return tensor.inputs.some((part) => costly(part) && sameShape(part.shape, tensor.shape));
    if (tensor.operator !== "matmul" && tensor.operator !== "integerMatmul") return false;
    const left = tensor.inputs[0]!.shape;
    const transposed = tensor.operator === "matmul" && tensor.attributes.transposeA;
    const inner = transposed ? left.at(-2)! : left.at(-1)!;
    const isWithinSequence = tensor.shape.length > 2;
    return inner >= minimumInnerLength && !(isWithinSequence && tensor.shape.at(-1)! >= inner);
  };
  return costly;
}
