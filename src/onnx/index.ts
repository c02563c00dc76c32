// Public names of the lowering layer.
export { lower } from "./lower.ts";
export { encodeModel, type OnnxGraph } from "./proto.ts";
