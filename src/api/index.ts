// Public names of the numerics API.
export { type Classified, classify } from "./classify.ts";
export { type LoadModelOptions, loadModel } from "./load-model.ts";
export type { AdapterOptions, LoadedAdapters } from "./loaded-adapters.ts";
export type {
  ForwardResult,
  GradientSettings,
  LoadedModel,
  LossAndGradients,
  TrainStepOptions,
  TrainStepResult,
} from "./loaded-model.ts";
