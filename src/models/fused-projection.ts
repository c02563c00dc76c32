// One product in place of several: queries, keys and values lie in its output side by side, once for
// all heads (GPT-2), head by head (GPT-NeoX) or group by group (Falcon).

import { reshape, slice, type Tensor } from "../tensor/index.ts";
import type { UsualTargets } from "./architecture.ts";

/** What adapters choose where Megatron's names are. */
export const FUSED_TARGETS: UsualTargets = {
  attention: ["query_key_value"],
  scaledOutputs: ["query_key_value"],
  scaledInputs: ["dense_4h_to_h"],
};

/** How heads lie in a row: `groups` times so many heads of each part as `counts` says. */
export interface FusedHeads {
  readonly groups: number;
  readonly counts: readonly number[];
  readonly headSize: number;
}

/**
 * The parts of a fused product.
 * @param x [rows, groups · sum of counts · headSize]
 * @returns for each count, [rows, groups · count · headSize]
 */
export function splitHeads(x: Tensor, { groups, counts, headSize }: FusedHeads): Tensor[] {
  const rows = x.shape[0]!;
  const grouped = reshape(x, [rows, groups, x.shape[1]! / groups]);
  let start = 0;
  return counts.map((count) => {
    const end = start + count * headSize;
    const part = slice(grouped, 2, start, end);
    start = end;
    return reshape(part, [rows, groups * count * headSize]);
  });
}

/** Both halves of a fused product [rows, 2 · width]. */
export function splitHalves(x: Tensor): [first: Tensor, second: Tensor] {
  const width = x.shape[1]! / 2;
  return [slice(x, 1, 0, width), slice(x, 1, width, 2 * width)];
}
