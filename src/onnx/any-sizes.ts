// Graphs that differ only in how long things are, as one text: what holds weights is compiled for all of
// them at once, and is fed the shapes that a node has to be told.

import {
  type OperatorName,
  printGraph,
  type Shape,
  sameShape,
  type Tensor,
  type TensorOf,
} from "../tensor/index.ts";

type FixedSizes = { [O in OperatorName]?: (y: TensorOf<O>) => Shape };

/** Sizes that are written into a node, or that decide which nodes there are: they hold for one graph. */
const FIXED: FixedSizes = {
  add: ({ inputs: [a, b] }) => [Number(sameShape(a!.shape, b!.shape))],
  blockLinear: ({ inputs: [x], shape }) => [x!.shape[1]!, shape[1]!],
  constantTensor: ({ shape }) => shape,
  rotary: ({ inputs }) => [inputs[2]!.shape[1]!],
  rowCodes: ({ shape }) => shape,
};

/**
 * The same text for graphs that one session computes, given the shapes of each: numbers of axes and what
 * a node is written with are in it, and all of what is held.
 */
export function printAnySizes(
  outputs: readonly Tensor[],
  given: readonly Tensor[],
  held: readonly Tensor[],
): string {
  const isHeld = new Set(held);
  const fixed = (tensor: Tensor): Shape => {
    if (isHeld.has(tensor)) return tensor.shape;
    const sizes = FIXED[tensor.operator] as ((y: Tensor) => Shape) | undefined;
    return [tensor.shape.length, ...(sizes?.(tensor) ?? [])];
  };
  return printGraph(outputs, [...given, ...held], { sizesOf: fixed });
}
