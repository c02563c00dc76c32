// Public names of the lowering layer.
export { printAnySizes } from "./any-sizes.ts";
export { type BytePart, withByteWeights } from "./byte-weights.ts";
export type { DynamicSize } from "./dynamic-sizes.ts";
export { withHalfProducts } from "./half-products.ts";
export { lower, SIZES } from "./lower.ts";
export { encodeModel, type OnnxConstant, type OnnxGraph, type OnnxNode } from "./proto.ts";
