// What is due at a point of a run: pure questions about the loop's state, which therefore have the same
// answers in a resumed run.

import type { BatchSource } from "../data/index.ts";
import type { LoopState } from "./checkpoint.ts";
import type { StopReason } from "./events.ts";
import type { Interval, StepPlan, TrainingSettings } from "./settings.ts";

/** Whether an evaluation is due: before the first step, in its interval, and after the last step. */
export function isEvaluationDue(
  state: LoopState,
  run: { readonly evaluation?: BatchSource },
  settings: TrainingSettings,
  plan: StepPlan,
): boolean {
  const { evaluateEvery } = settings;
  if (!run.evaluation || evaluateEvery === "never" || state.evaluatedAt === state.step)
    return false;
  return state.step === 0 || isAtInterval(evaluateEvery, state) || isDone(state, settings, plan);
}

/** Whether a checkpoint is due: in its interval, and for a new best evaluation that is to be kept. */
export function isSaveDue(state: LoopState, settings: TrainingSettings): boolean {
  if (state.step === 0) return false;
  const isBest = settings.keepBest && state.best?.step === state.step;
  return isBest || isAtInterval(settings.saveEvery, state);
}

/**
 * Why the run stops here; undefined where it goes on. A run is completed only with its last
 * evaluation: one that was aborted there has it left to do.
 */
export function stopReason(
  state: LoopState,
  run: { readonly evaluation?: BatchSource; readonly signal?: AbortSignal },
  settings: TrainingSettings,
  plan: StepPlan,
): StopReason | undefined {
  const { earlyStoppingPatience: patience = Number.POSITIVE_INFINITY } = settings;
  if (isDone(state, settings, plan) && !isEvaluationDue(state, run, settings, plan))
    return "completed";
  if (state.evaluationsWithoutGain >= patience) return "early-stopping";
  return run.signal?.aborted ? "aborted" : undefined;
}

/** Whether a step is reported: the first, the last, and every so many. */
export function isReported(state: LoopState, settings: TrainingSettings, plan: StepPlan): boolean {
  const { step } = state;
  return step === 1 || step % settings.logEvery === 0 || isDone(state, settings, plan);
}

/** Passes over the data so far; whole ones only where an epoch's length is unknown. */
export function epochsOf(state: LoopState, source: BatchSource): number {
  return state.epoch + (source.batchesPerEpoch ? state.batch / source.batchesPerEpoch : 0);
}

function isDone(state: LoopState, { epochs }: TrainingSettings, { totalSteps }: StepPlan): boolean {
  const stepsDone = totalSteps !== undefined && state.step >= totalSteps;
  return stepsDone || (epochs !== undefined && state.epoch >= epochs);
}

function isAtInterval(interval: Interval, { step, epoch, batch }: LoopState): boolean {
  if (interval === "epoch") return batch === 0 && epoch > 0;
  return interval !== "never" && step > 0 && step % interval === 0;
}
