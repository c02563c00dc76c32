// Everything that a training run tells its caller, as one typed union. Steps and evaluations are also
// what metrics.jsonl holds, one event a line.

import type { Evaluation } from "./evaluation.ts";
import type { CardSubject } from "./model-card.ts";

export type StopReason = "completed" | "early-stopping" | "aborted";

export interface RunStarted {
  readonly type: "run-started";
  readonly runFolder: string;
  /** The finished steps of the checkpoint that the run continues from. */
  readonly resumedFromStep?: number;
  /** Settings that differ from those the checkpoint was trained with: the losses will differ too. */
  readonly changedSettings: readonly string[];
  readonly totalSteps?: number;
  readonly stepsPerEpoch?: number;
  /** Numbers that are trained. */
  readonly trainableParameters: number;
}

export interface StepFinished {
  readonly type: "step-finished";
  /** Finished optimizer steps, this one included. */
  readonly step: number;
  readonly totalSteps?: number;
  /** Passes over the data so far: 1.5 is the middle of the second (whole where the length is unknown). */
  readonly epoch: number;
  /** Mean over all targets of the step, before its update. */
  readonly loss: number;
  /** What the method adds to it in training: balancing of experts, orthogonality of factors. */
  readonly methodLoss?: number;
  readonly learningRate: number;
  /** Before clipping. */
  readonly gradientNorm: number;
  /** Tokens that are not padding, per second of this step. */
  readonly tokensPerSecond: number;
  /** Positions trained on in this step. */
  readonly targetTokens: number;
  readonly secondsLeft?: number;
  readonly peakMemoryBytes: number;
}

/** `loss` is the mean over all targets of the evaluation data. */
export interface EvaluationFinished extends Evaluation {
  readonly type: "evaluation-finished";
  readonly step: number;
  /** Whether it is the lowest loss of the run. The untrained model's (step 0) never counts. */
  readonly isBest: boolean;
}

export interface CheckpointSaved {
  readonly type: "checkpoint-saved";
  readonly step: number;
  readonly folder: string;
}

export interface RunFinished {
  readonly type: "run-finished";
  readonly stoppedBecause: StopReason;
  readonly step: number;
  /** Evaluation loss of the untrained model, and of the adapter that was written. */
  readonly lossBefore?: number;
  readonly lossAfter?: number;
  /** The step whose parameters the adapter holds. */
  readonly adapterStep?: number;
  /** Where the adapter is; absent after an abort. */
  readonly adapterFolder?: string;
  /** How that folder is loaded: on top of the base, or in its place. */
  readonly kind?: CardSubject["kind"];
  /** Of a classifier: what it says. */
  readonly labels?: CardSubject["labels"];
  /** How the base's linear weights were kept, where the run quantised them: the adapter wants them so. */
  readonly quantization?: CardSubject["quantization"];
  /** Time spent training, earlier parts of a resumed run included. */
  readonly seconds: number;
  readonly peakMemoryBytes: number;
  /** After an abort: what to do to continue. */
  readonly howToGoOn?: string;
}

export type TrainEvent =
  | RunStarted
  | StepFinished
  | EvaluationFinished
  | CheckpointSaved
  | RunFinished;

/** The events that metrics.jsonl keeps. */
export type MetricEvent = StepFinished | EvaluationFinished;
