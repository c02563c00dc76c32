// Attention of new tokens over those that came before, whose keys and values were kept, and over
// each other. The two parts meet in one softmax, so the cache is read where it lies, never copied.

import type { AttentionInputs, Dimensions } from "../models/index.ts";
import {
  add,
  concat,
  matmul,
  reshape,
  type Shape,
  slice,
  softmax,
  type Tensor,
  transpose,
} from "../tensor/index.ts";

/** Keys and values, each [batch, kv heads, positions, head size], keys rotated. */
export interface KeysAndValues {
  readonly keys: Tensor;
  readonly values: Tensor;
}

export interface CachedAttention extends KeysAndValues {
  /** [batch · seq, heads · headSize] */
  readonly output: Tensor;
}

/**
 * @param past what was kept, [batch, kv heads, capacity, head size]; absent where nothing was
 * @param mask [batch, 1, seq, capacity + seq], added to the scores: kept positions first, new ones after
 * @returns the output, and the new keys and values [batch, kv heads, seq, head size], to be kept
 */
export function cachedAttention(
  { queries, keys, values, scale }: AttentionInputs,
  past: KeysAndValues | undefined,
  mask: Tensor,
  { heads, keyValueHeads, headSize }: Dimensions,
): CachedAttention {
  const [batch, , sequence, visible] = mask.shape as [number, number, number, number];
  const groups = heads / keyValueHeads;
  const pairs = batch * keyValueHeads;

  // Queries of one key-value head lie together, as in training.
  const split: Shape = [batch, sequence, keyValueHeads, groups, headSize];
  const q = reshape(transpose(reshape(queries, split), [0, 2, 3, 1, 4]), [
    pairs,
    groups * sequence,
    headSize,
  ]);
  const perHead = (x: Tensor) =>
    transpose(reshape(x, [batch, sequence, keyValueHeads, headSize]), [0, 2, 1, 3]);
  const flat = (x: Tensor) => reshape(x, [pairs, x.shape[2]!, headSize]);
  const added: KeysAndValues = { keys: perHead(keys), values: perHead(values) };
  const parts = past ? [past, added] : [added];

  const scores = concat(
    parts.map((part) => matmul(q, flat(part.keys), { transposeB: true, scale })),
    2,
  );
  const masked = add(reshape(scores, [batch, heads, sequence, visible]), mask);
  const probabilities = reshape(softmax(masked), scores.shape);
  let start = 0;
  const output = parts
    .map((part) => {
      const end = start + part.keys.shape[2]!;
      const product = matmul(slice(probabilities, 2, start, end), flat(part.values));
      start = end;
      return product;
    })
    .reduce((sum, part) => add(sum, part));
  const together = reshape(output, [batch, keyValueHeads, groups, sequence, headSize]);
  return {
    ...added,
    output: reshape(transpose(together, [0, 3, 1, 2, 4]), [batch * sequence, heads * headSize]),
  };
}
