// The training loop: optimizer steps over batches, evaluations, checkpoints, and an end in good order.
// What is due at a step follows from the loop's state alone, so a resumed run does what was left undone.

import type { BatchSource } from "../data/index.ts";
import type { Model } from "../engine/model.ts";
import { createOptimizer } from "../runtime/optimizer.ts";
import { createSchedule } from "../runtime/schedule.ts";
import { readGroups } from "./batch-groups.ts";
import { changedMethod, changedRecipe } from "./changed-recipe.ts";
import {
  initialLoopState,
  type LoopState,
  loadCheckpoint,
  pruneCheckpoints,
  saveCheckpoint,
} from "./checkpoint.ts";
import { epochsOf, isEvaluationDue, isReported, isSaveDue, stopReason } from "./due.ts";
import { evaluate } from "./evaluation.ts";
import type { EvaluationFinished, StepFinished, TrainEvent } from "./events.ts";
import { explainRunFailure, notFinite, type RunPosition } from "./faults.ts";
import { finishRun } from "./finish.ts";
import { openJournal } from "./journal.ts";
import type { CardSubject } from "./model-card.ts";
import { openRunFolder, type RunFolder, type RunFolderOptions } from "./run-folder.ts";
import {
  changedSettings,
  completeSettings,
  planSteps,
  type StepPlan,
  type TrainingSettings,
} from "./settings.ts";
import { runStep, type StepResult } from "./step.ts";
import { peakMemoryBytes, startClock, tokensPerSecond } from "./throughput.ts";

export interface TrainingOptions extends RunFolderOptions {
  readonly model: Model;
  readonly train: BatchSource;
  /** Held-out data, in the same order every time. */
  readonly evaluation?: BatchSource;
  /** What is left out takes its value from `DEFAULT_TRAINING_SETTINGS`. */
  readonly settings: Partial<TrainingSettings>;
  readonly runFolder: string;
  /** Aborting finishes the micro-batch at hand, saves a checkpoint and ends the run in good order. */
  readonly signal?: AbortSignal;
  /** For the model card beside the adapter; without it no card is written. */
  readonly card?: CardSubject;
}

type MovingPosition = { -readonly [Key in keyof RunPosition]: RunPosition[Key] };

/**
 * Trains `model`, telling of every step, evaluation and checkpoint, and leaves the model with the
 * parameters of the adapter that it wrote. Nothing happens before the first event is asked for; a
 * caller who stops asking leaves the run at its last checkpoint. Throws a TunesmithError for settings
 * that contradict each other, a run folder that is taken, losses that are not finite, a full disk
 * and memory that is used up.
 *
 * @example
 *     for await (const event of runTraining({ model, train, settings: { epochs: 1 }, runFolder }))
 *       if (event.type === "step-finished") console.log(event.step, event.loss);
 */
export async function* runTraining(options: TrainingOptions): AsyncGenerator<TrainEvent, void> {
  const settings = completeSettings(options.settings, options.evaluation !== undefined);
  const plan = planSteps(settings, options.train.batchesPerEpoch);
  const position: MovingPosition = { step: 0 };
  let folder: RunFolder | undefined;
  try {
    folder = await openRunFolder(options.runFolder, options);
    yield* train(options, settings, plan, folder, position);
  } catch (error) {
    throw explainRunFailure(error, position);
  } finally {
    await folder?.close();
  }
}

async function* train(
  options: TrainingOptions,
  settings: TrainingSettings,
  plan: StepPlan,
  folder: RunFolder,
  position: MovingPosition,
): AsyncGenerator<TrainEvent, void> {
  const { model, signal } = options;
  const optimizer = createOptimizer(model.parameters, { ...settings, name: settings.optimizer });
  position.lastCheckpoint = await folder.latestCheckpoint();
  const changes = changedRecipe(folder.earlierRecipe, options.recipeText);
  const restored =
    position.lastCheckpoint === undefined
      ? undefined
      : await loadCheckpoint(position.lastCheckpoint, model, optimizer, changedMethod(changes));
  model.schedule?.begin(plan.totalSteps);
  await folder.begin();
  const state = restored?.state ?? initialLoopState();
  position.step = state.step;
  let savedAt = restored ? state.step : -1;
  const learningRateFactor = createSchedule({ ...settings, ...plan, name: settings.schedule });
  const clock = startClock(state, plan.totalSteps);
  const journal = await openJournal(folder, state);
  const groups = readGroups(options.train, settings.gradientAccumulation, { ...state });
  try {
    yield {
      type: "run-started",
      runFolder: folder.path,
      ...(restored ? { resumedFromStep: state.step } : {}),
      changedSettings: restored
        ? [...changedSettings(restored.settings, settings), ...changes]
        : [],
      ...plan,
      trainableParameters: model.parameters.reduce((sum, { data }) => sum + data.length, 0),
    };
    for (;;) {
      if (isEvaluationDue(state, options, settings, plan)) {
        const event = await evaluateModel(options, settings, state, position);
        if (event) {
          await journal.record(event);
          yield event;
        }
      }
      const stop = stopReason(state, options, settings, plan);
      if (savedAt !== state.step && (stop || isSaveDue(state, settings))) {
        await journal.flush();
        state.seconds = clock.seconds();
        const { checkpoints } = folder.paths;
        position.lastCheckpoint = await saveCheckpoint(checkpoints, model, optimizer, {
          state,
          settings,
        });
        savedAt = state.step;
        const bestStep = settings.keepBest ? state.best?.step : undefined;
        await pruneCheckpoints(checkpoints, settings.keepLast, bestStep);
        yield { type: "checkpoint-saved", step: state.step, folder: position.lastCheckpoint };
      }
      if (stop) {
        state.seconds = clock.seconds();
        yield await finishRun(folder, model, state, settings, stop, options.card);
        return;
      }

      const { value: group } = await groups.next();
      const startedAt = performance.now();
      const learningRate = settings.learningRate * learningRateFactor(state.step);
      let result: StepResult | undefined;
      if (group.targets > 0) {
        const request = { group, learningRate, position, signal };
        result = await runStep(model, optimizer, settings, request);
        // Aborted within the step: its micro-batches do not count as used and will come again.
        if (!result) continue;
        position.step = ++state.step;
      }
      state.epoch += group.endsEpoch ? 1 : 0;
      state.batch = group.endsEpoch ? 0 : state.batch + group.batches.length;
      if (!result || !isReported(state, settings, plan)) continue;
      const event: StepFinished = {
        type: "step-finished",
        step: state.step,
        totalSteps: plan.totalSteps,
        epoch: epochsOf(state, options.train),
        ...result,
        learningRate,
        tokensPerSecond: tokensPerSecond(group, startedAt),
        targetTokens: group.targets,
        secondsLeft: clock.secondsLeft(state.step),
        peakMemoryBytes: peakMemoryBytes(),
      };
      await journal.record(event);
      yield event;
    }
  } finally {
    await groups.return(undefined as never);
    await journal.close();
  }
}

/** Evaluates, and enters the outcome into the state; undefined where it was aborted. */
async function evaluateModel(
  { model, evaluation, signal }: TrainingOptions,
  settings: TrainingSettings,
  state: LoopState,
  position: RunPosition,
): Promise<EvaluationFinished | undefined> {
  if (!evaluation) return undefined;
  const result = await evaluate(model, evaluation, signal);
  if (!result) return undefined;
  const { step } = state;
  if (!Number.isFinite(result.loss))
    throw notFinite("evaluation loss", result.loss, settings.learningRate, position);
  state.evaluatedAt = step;
  state.evaluationLoss = result.loss;
  // The untrained model has no checkpoint to go back to, so it is never the best.
  const isBest = step > 0 && result.loss < (state.best?.loss ?? Number.POSITIVE_INFINITY);
  if (step === 0) state.lossBefore = result.loss;
  else if (isBest) state.best = { step, loss: result.loss };
  state.evaluationsWithoutGain = step === 0 || isBest ? 0 : state.evaluationsWithoutGain + 1;
  return { type: "evaluation-finished", step, ...result, isBest };
}
