// What a decoder is to generation, however it reads: with a cache, or whole rows again.

import type { BoundMethod } from "../../methods/index.ts";
import type { BoundArchitecture } from "../../models/index.ts";
import type { Runtime } from "../../runtime/kernel.ts";
import type { ParameterSet } from "../parameters.ts";
import type { WeightStore } from "../weights/weights.ts";

/** What a decoder needs of a model; an `EngineModel` has it. */
export interface DecodableModel {
  readonly architecture: BoundArchitecture;
  readonly method: BoundMethod | undefined;
  readonly weights: WeightStore;
  readonly parameterSet: ParameterSet;
  readonly runtime: Runtime;
}

/**
 * The model for rows that are computed together, in this order; undefined where a row rests. All that it
 * gives share architecture, weights, runtime, and what their methods put in front of a text.
 */
export type ModelOfRows = (rows: readonly (number | undefined)[]) => Promise<DecodableModel>;

export interface DecoderOptions {
  /** Sequences side by side. Default 1. */
  readonly batch?: number;
  /** Positions that memory is taken for at the start; it doubles as needed. Default 256. */
  readonly capacity?: number;
  /** Positions of a prompt that are read at once. Default 512. */
  readonly chunk?: number;
  /** Default: the decoder's model, for all rows. */
  readonly modelOf?: ModelOfRows;
}

export interface Decoder {
  readonly batch: number;
  /** Tokens of each row that have been read. */
  readonly lengths: readonly number[];
  /**
   * Reads new tokens of every row (none where a row rests). A row that has several is read alone; those
   * that have one each are computed together, and no others: what a row costs does not depend on rows
   * that rest, and what it is told depends on no other row.
   * @param images for each row what its new image tokens give way to, [image rows, hidden]; where there
   *   is none, they are tokens like others
   * @returns for each row the logits [vocabulary] of the token that follows, undefined where it had
   *   no new token; they are overwritten when the row is next read
   * @throws TunesmithError (data) for ids outside the vocabulary
   */
  append(
    tokens: readonly (readonly number[])[],
    images?: readonly (Float32Array | undefined)[],
  ): Promise<(Float32Array | undefined)[]>;
  /** Forgets what lies behind the first `length` tokens of a row. */
  truncate(row: number, length: number): void;
  /**
   * Bytes that `reserve` would have the cache take, none where nothing is kept.
   */
  cacheBytes(rows: number, positions: number): number;
  /** Makes room for so many rows of so many tokens at once, so that it is not made step by step. */
  reserve(rows: number, positions: number): Promise<void>;
}
