// The arithmetic that a LoRA step demands, counted from shapes: what speeds are held against.

import type { Workload } from "./workload.ts";
import { trainedPositions } from "./workload.ts";

/** Of a LLaMA architecture, as the fields of `config.json` say. */
export interface ModelShape {
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  readonly vocabulary: number;
}

/** SmolLM2-135M. */
export const SMOLLM2: ModelShape = {
  layers: 30,
  hidden: 576,
  intermediate: 1536,
  heads: 9,
  keyValueHeads: 3,
  headSize: 64,
  vocabulary: 49152,
};

/**
 * Floating-point operations of one step (a multiply and an add are two), with nothing recomputed:
 *
 * - every frozen matrix: two products, the output and the gradient of the input;
 * - the output matrix: the same, at trained positions alone;
 * - attention: two products forward, four backward, over the pairs of positions that the causal mask
 *   allows (an implementation that multiplies all pairs does about twice as much);
 * - LoRA on q_proj and v_proj: A and B have a third product each, their own gradient.
 */
export function stepFlops(workload: Workload, model: ModelShape = SMOLLM2): number {
  const { batch, length, rank, depth = model.layers } = workload;
  const tokens = batch * length;
  const queries = model.heads * model.headSize;
  const keys = model.keyValueHeads * model.headSize;
  const { hidden, intermediate } = model;
  const frozen = 2 * hidden * (queries + keys) + 3 * hidden * intermediate;
  const lora = rank * (hidden + queries + hidden + keys);
  const attention = 12 * queries * ((length + 1) / 2);
  const perToken = depth * (4 * frozen + 6 * lora + attention);
  const perTrained = 4 * hidden * model.vocabulary;
  return tokens * perToken + batch * trainedPositions(workload) * perTrained;
}
