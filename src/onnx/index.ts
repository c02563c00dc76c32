// Public names of the lowering layer.
export { printAnySizes } from "./any-sizes.ts";
export { lower, SIZES } from "./lower.ts";
export { encodeModel, type OnnxGraph } from "./proto.ts";
