// The public names of the training layer.

export { listCheckpoints } from "./checkpoint.ts";
export { type Evaluation, evaluate } from "./evaluation.ts";
export type { RunFinished, StepFinished, TrainEvent } from "./events.ts";
export { runTraining } from "./loop.ts";
export type { CardSubject } from "./model-card.ts";
export { checkRunFolder, latestAdapter, RUN_FILES } from "./run-folder.ts";
export { completeSettings, planSteps, type StepPlan, type TrainingSettings } from "./settings.ts";
