// Public names of the method layer.
export type { FullOptions } from "./full.ts";
export { fromPeftConfig } from "./lora-config.ts";
export type { LoraOptions } from "./lora-options.ts";
export type { BoundMethod, ModelDescription, ParameterSpec, ParameterValues } from "./method.ts";
export { bindMethod, type MethodOptions, methodNames } from "./registry.ts";
export { linearModules } from "./targets.ts";
