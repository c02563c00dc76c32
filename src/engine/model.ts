// The model as the training loop sees it: something with named trainable parameters that can be run
// forward, differentiated and saved.

import type { Classifier } from "../models/index.ts";
import type { Batch } from "./batch.ts";

export interface NumericArray {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** A trainable tensor. `data` is updated in place by the optimizer; gradients accumulate. */
export interface Parameter {
  /** The tensor's key in the file that PEFT (or Transformers, for full tuning) reads. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
  readonly gradient: Float32Array;
  /** Default 1. */
  readonly learningRateFactor?: number;
  /** Only of parameters that a batch may leave out: whether a gradient has been added since they were zeroed. */
  hasGradient?: boolean;
}

/** A sum over the trained positions (or labelled rows) of a batch, and how many there were. */
export interface LossSum {
  readonly lossSum: number;
  readonly tokenCount: number;
  /** Of a classifier that is evaluated: what it says of each row, [batch, labels]. */
  readonly logits?: Float32Array;
  /** What the method adds to the mean loss (load balancing of experts); only in training. */
  readonly auxiliaryLoss?: number;
}

export interface GradientOptions {
  /** Factor on the summed loss before differentiation: 1 / (targets in the whole step). */
  readonly scale: number;
  /** Seeds dropout; give another number to every micro-batch of a run. */
  readonly seed?: number;
  /** Factor on a method's own loss: 1 / (micro-batches of the whole step). Default 1. */
  readonly auxiliaryScale?: number;
}

/** What a method does of its own between steps, such as pruning ranks. */
export interface ModelSchedule {
  /** What it remembers, as named arrays that a checkpoint keeps. */
  readonly state: readonly Pick<Parameter, "name" | "shape" | "data">[];
  /**
   * Before the first step, and again where a run is resumed.
   * @param totalSteps optimizer steps of the whole run, where that is known
   * @throws TunesmithError (config) where the method's plan does not fit so many steps
   */
  begin(totalSteps?: number): void;
  /** After the update of step `step`, from 0; gradients still are those of the step, before clipping. */
  afterStep(step: number, gradientScale: number): void;
}

export interface Model {
  /** What it says of whole texts, where it does not continue them. */
  readonly classifier?: Classifier;
  readonly parameters: readonly Parameter[];
  /** Only with methods that have one. */
  readonly schedule?: ModelSchedule;
  /** Adds the gradient of `scale * lossSum` to every parameter's `gradient`. */
  accumulateGradients(batch: Batch, options: GradientOptions): Promise<LossSum>;
  /** The loss alone, dropout off, without keeping all logits. */
  evaluateLoss(batch: Batch): Promise<LossSum>;
  /** Logits [batch, seq, vocabulary] (of a classifier [batch, labels]), and the mean loss where labels are given. */
  forward(batch: Batch): Promise<{ logits: NumericArray; loss?: number }>;
  /** Writes what was trained, in the file format of the method's reference library. */
  saveAdapter(directory: string): Promise<void>;
  dispose(): Promise<void>;
}
