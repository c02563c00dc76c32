// The public names of the training layer.

export type { BatchGroup } from "./batch-groups.ts";
export { type Evaluation, evaluate } from "./evaluation.ts";
export type {
  CheckpointSaved,
  EvaluationFinished,
  MetricEvent,
  RunFinished,
  RunStarted,
  StepFinished,
  StopReason,
  TrainEvent,
} from "./events.ts";
export { explainRunFailure } from "./faults.ts";
export { runTraining, type TrainingOptions } from "./loop.ts";
export {
  drawLossPicture,
  type LossCurves,
  type LossPoint,
  lossCurves,
  plotLoss,
} from "./loss-picture.ts";
export { readMetrics } from "./metrics.ts";
export { type CardResults, type CardSubject, writeModelCard } from "./model-card.ts";
export { checkRunFolder, latestAdapter, RUN_FILES, type RunFolderOptions } from "./run-folder.ts";
export {
  changedSettings,
  completeSettings,
  DEFAULT_TRAINING_SETTINGS,
  type Interval,
  planSteps,
  type StepPlan,
  type TrainingSettings,
} from "./settings.ts";
export { peakMemoryBytes } from "./throughput.ts";
