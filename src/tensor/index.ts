// Public names of the graph layer.
export * from "./activations.ts";
export * from "./block-linear.ts";
export * from "./cached-attention.ts";
export { gradient } from "./gradient.ts";
export * from "./integer-linear.ts";
export * from "./operators.ts";
export { chooseSaved, isCostly } from "./partition.ts";
export { printGraph } from "./print.ts";
export * from "./selection.ts";
export type { OperatorName, Shape, Tensor, TensorOf } from "./tensor.ts";
export { sameShape, sizeOf } from "./tensor.ts";
export { topologicalOrder } from "./traverse.ts";
