// Public names of the method layer.

export { peftPath } from "./adapted-modules.ts";
export { pathOfImages, withoutTexts } from "./fits-model.ts";
export { unfittingRanks } from "./fitting-ranks.ts";
export type { IdleFault } from "./idle-options.ts";
export { fromLoraConfig, loraConfig } from "./lora/lora-config.ts";
export type { LoraOptions } from "./lora/lora-options.ts";
export type {
  BoundMethod,
  DataProbe,
  Decision,
  MethodScope,
  ModelDescription,
  ParameterSpec,
  ParameterValues,
  PrefixStates,
  RankUse,
  SavedAdapter,
  TensorLoss,
  Vocabulary,
} from "./method.ts";
export { modelDescription } from "./model-description.ts";
export { count, derived } from "./option-schema.ts";
export {
  countParameters,
  type ParameterRole,
  parameterRole,
} from "./parameter-roles.ts";
export { addLowRank } from "./parts/merge-weights.ts";
export {
  bindMethod,
  idleOptions,
  type MethodName,
  type MethodOptions,
  methodDefinition,
  methodNames,
  methodOfAdapter,
  methodSchemas,
} from "./registry.ts";
export { type LinearModule, linearModules, patternValue } from "./targets.ts";
export { unmatchedNames, withoutStrangeTargets } from "./unmatched-names.ts";
export type { FullOptions } from "./weights/full.ts";
