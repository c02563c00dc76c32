// The batches of the contract's checks: two samples, side by side with padding, or in one row.

import type { Batch } from "../batch.ts";
import { randomRows } from "./tiny-models.ts";

export const rows = randomRows([9, 6], 3) as [number[], number[]];

/** Side by side, the shorter one padded. */
export const batch: Batch = {
  inputIds: [rows[0], [...rows[1], 0, 0, 0]],
  labels: [rows[0], [...rows[1], -100, -100, -100]],
  attentionMask: [rows[0].map(() => 1), [1, 1, 1, 1, 1, 1, 0, 0, 0]],
};
/** In one row. */
export const packed: Batch = {
  inputIds: [[...rows[0], ...rows[1]]],
  labels: [[...rows[0], -100, ...rows[1].slice(1)]],
  segmentIds: [[...rows[0].map(() => 1), ...rows[1].map(() => 2)]],
  positionIds: [[...rows[0].keys(), ...rows[1].keys()]],
};
