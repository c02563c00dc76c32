// Public names of the model layer.
export type {
  AttentionInputs,
  BlockPaths,
  Dimensions,
  RotaryTables,
  Scope,
  WeightSpec,
} from "./architecture.ts";
export { causalAttention, withFreeColumns } from "./attention.ts";
export { architectureFor, type BoundArchitecture, supportedModelTypes } from "./registry.ts";
