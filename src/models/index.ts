// Public names of the model layer.
export type {
  AttentionInputs,
  AuxiliaryLoss,
  AuxiliaryLossOf,
  BlockPaths,
  Dimensions,
  RotaryTables,
  Scope,
  WeightSpec,
} from "./architecture.ts";
export { causalAttention, withFreeColumns } from "./attention.ts";
export type { Routed, SparseFeedForward } from "./experts.ts";
export { balancing, reportRouting, weightedSum } from "./load-balancing.ts";
export { architectureFor, type BoundArchitecture, supportedModelTypes } from "./registry.ts";
