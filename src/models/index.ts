// Public names of the model layer.
export type {
  AttentionInputs,
  AuxiliaryLoss,
  AuxiliaryLossOf,
  BlankTokens,
  BlockPaths,
  BlockStack,
  Dimensions,
  ImageEncoder,
  Reach,
  Scope,
  SparseFeedForward,
  UsualTargets,
  WeightSpec,
} from "./architecture.ts";
export { rotaryPairs } from "./architecture.ts";
export { capped, causalAttention } from "./attention.ts";
export {
  type Classifier,
  classifierConfig,
  classifierKeys,
  classifierOf,
  type Problem,
  readClassifier,
  SCORE_WEIGHT,
  unnamedLabels,
  usualProblem,
} from "./classifier.ts";
export { balancing, reportRouting, weightedSum } from "./load-balancing.ts";
export {
  architectureFor,
  type BoundArchitecture,
  coveredModels,
  supportedModelTypes,
} from "./registry.ts";
