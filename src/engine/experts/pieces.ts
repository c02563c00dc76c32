// The pieces of a sparse feed-forward as segments, which have one input and one output: what goes from
// one to the next lies side by side in the columns of a matrix.

import type { Scope, SparseFeedForward } from "../../models/index.ts";
import { broadcast, concat, constant, multiply, slice, type Tensor } from "../../tensor/index.ts";

/** Where the columns of what `enterExperts` makes start. */
export interface Columns {
  /** The residual stream; first of all, and behind it what all rows have: what `leaveExperts` reads. */
  readonly output: number;
  /** What experts are given. */
  readonly input: number;
  /** Each expert's share. */
  readonly weights: number;
  readonly width: number;
}

export const columnsOf = (hidden: number, experts: number): Columns => ({
  output: hidden,
  input: 2 * hidden,
  weights: 3 * hidden,
  width: 3 * hidden + experts,
});

/** Columns of what an expert is given: its input and its share. */
export const expertWidth = (hidden: number): number => hidden + 1;

/** Columns of what `leaveExperts` reads. */
export const joinedWidth = (hidden: number): number => 2 * hidden;

/** From the residual stream [rows, hidden] to [rows, 3 · hidden + experts], see `Columns`. */
export function enterExperts(pieces: SparseFeedForward, x: Tensor, scope: Scope): Tensor {
  const { input, weights, shared } = pieces.enter(x, scope);
  return concat([x, shared ?? broadcast(constant(0), x.shape), input, weights], 1);
}

/** From rows [rows, hidden + 1], an expert's input and its share, to its part of their output. */
export function weightedExpert(
  pieces: SparseFeedForward,
  index: number,
  x: Tensor,
  scope: Scope,
): Tensor {
  const hidden = x.shape[1]! - 1;
  const output = pieces.expert(index, slice(x, 1, 0, hidden), scope);
  return multiply(output, slice(x, 1, hidden, hidden + 1));
}

/** From [rows, 2 · hidden], the residual stream and the feed-forward's output, to their sum. */
export function leaveExperts(pieces: SparseFeedForward, x: Tensor, scope: Scope): Tensor {
  const hidden = x.shape[1]! / 2;
  return pieces.leave(slice(x, 1, 0, hidden), slice(x, 1, hidden, 2 * hidden), scope);
}
