// Room for a method's virtual tokens: a batch with positions in front of every row that no token id
// stands for, and what comes out of it without them.

import { type Batch, IGNORED_LABEL } from "./batch.ts";

/** The segment of virtual tokens, which every packed sample sees. */
export const VIRTUAL_SEGMENT = -1;

/**
 * `batch` with `count` positions in front of every row; their token ids say nothing. A row's first
 * token is given, with virtual tokens as without: the loss is over the same tokens as the base's, and
 * the same when samples are packed, where one virtual token could predict but one of their firsts.
 */
export function withVirtualTokens(batch: Batch, count: number): Batch {
  if (count === 0) return batch;
  const inFront = (rows: readonly (readonly number[])[], value: (position: number) => number) => {
    const added = Array.from({ length: count }, (_, position) => value(position));
    return rows.map((row) => [...added, ...row]);
  };
  const { inputIds, attentionMask, labels, positionIds, segmentIds, contextMask } = batch;
  const { rowLabels, pixelValues } = batch;
  return {
    ...(rowLabels && { rowLabels }),
    ...(pixelValues && { pixelValues }),
    inputIds: inFront(inputIds, () => 0),
    ...(attentionMask && { attentionMask: inFront(attentionMask, () => 1) }),
    ...(labels && {
      labels: inFront(
        labels.map((row) => [IGNORED_LABEL, ...row.slice(1)]),
        () => IGNORED_LABEL,
      ),
    }),
    ...(positionIds && {
      positionIds: inFront(
        positionIds.map((row) => row.map((position) => position + count)),
        (position) => position,
      ),
    }),
    ...(contextMask && { contextMask: inFront(contextMask, () => 0) }),
    ...(segmentIds && { segmentIds: inFront(segmentIds, () => VIRTUAL_SEGMENT) }),
  };
}

/** Writes `states` [count, width] over the first `count` positions of each row of `x`. */
export function putVirtualStates(
  x: Float32Array,
  states: Float32Array,
  rows: number,
  rowSize: number,
): void {
  for (let row = 0; row < rows; row++) x.set(states, row * rowSize);
}

/** The gradient of `putVirtualStates`: the sum over rows, taken out of `gradient`. */
export function takeVirtualGradients(
  gradient: Float32Array,
  target: Float32Array,
  rows: number,
  rowSize: number,
): void {
  target.fill(0);
  for (let row = 0; row < rows; row++) {
    const part = gradient.subarray(row * rowSize, row * rowSize + target.length);
    for (let i = 0; i < target.length; i++) target[i]! += part[i]!;
    part.fill(0);
  }
}

/** [batch, count + seq, width] without the first `count` positions of each row. */
export function withoutVirtualTokens(
  data: Float32Array,
  rows: number,
  count: number,
  sequence: number,
  width: number,
): Float32Array {
  if (count === 0) return data;
  const kept = new Float32Array(rows * sequence * width);
  for (let row = 0; row < rows; row++) {
    const start = (row * (count + sequence) + count) * width;
    kept.set(data.subarray(start, start + sequence * width), row * sequence * width);
  }
  return kept;
}
