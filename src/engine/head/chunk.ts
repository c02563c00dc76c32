// What a head works on: rows of last hidden states with labels, as many as it takes at a time.

import type { BoundMethod } from "../../methods/index.ts";
import type { BoundArchitecture } from "../../models/index.ts";
import type { Runtime, Value } from "../../runtime/kernel.ts";
import type { BufferPool } from "../../runtime/values.ts";
import type { Bind } from "../bind.ts";
import type { ParameterSet } from "../parameters.ts";
import type { WeightStore } from "../weights/weights.ts";

export interface ChunkHeadOptions {
  readonly architecture: BoundArchitecture;
  readonly method: BoundMethod | undefined;
  readonly weights: WeightStore;
  readonly parameters: ParameterSet;
  readonly runtime: Runtime;
  readonly pool: BufferPool;
  readonly bind: Bind;
  /** Bytes of logits that a chunk of rows may make. */
  readonly logitBytes: number;
}

/** What each row is to say: a token or a label, or a value for every label. */
export type HeadLabels = Int32Array | Float32Array;

export interface Chunk {
  /** Last hidden states [rows, hidden]; rows behind the labelled ones count for nothing. */
  readonly states: Value;
  readonly labels: HeadLabels;
  /** What each loss is multiplied by. */
  readonly factor: number;
  /** The same for each row [rows, 1], 0 behind the labelled ones. */
  readonly lossWeights: Value;
  /** Seeds dropout. */
  readonly seed?: number | undefined;
}

/** A head for chunks of rows; what it computes is valid until its next call. */
export interface ChunkHead {
  /** The most rows that it takes at a time. */
  readonly rowLimit: number;
  /** Losses of rows, times their weights; a classifier's logits [rows, labels] besides. */
  loss(chunk: Chunk): Promise<{ readonly losses: Float32Array; readonly logits?: Float32Array }>;
  /**
   * Losses of rows, times their weights. Adds gradients of what is trained in the head, and writes that of
   * the states to `stateGradients` [rows, hidden], where it is given.
   */
  lossWithGradients(chunk: Chunk, stateGradients: Value | undefined): Promise<Float32Array>;
}
