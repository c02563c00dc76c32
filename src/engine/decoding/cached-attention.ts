// Attention of new tokens over those that came before, whose keys and values were kept, and over
// each other. The two parts meet in one softmax, so the cache is read where it lies, never copied.

import {
  type AttentionInputs,
  capped,
  type Dimensions,
  withFreeColumns,
} from "../../models/index.ts";
import {
  add,
  broadcast,
  concat,
  matmul,
  reshape,
  type Shape,
  slice,
  softmax,
  type Tensor,
  transpose,
} from "../../tensor/index.ts";

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
 * @param prefix what a method puts before everything, seen always; [1 or batch, kv heads, length, head size]
 * @returns the output, and the new keys and values [batch, kv heads, seq, head size], to be kept
 */
export function cachedAttention(
  { queries, keys, values, scale, scoreCap }: AttentionInputs,
  past: KeysAndValues | undefined,
  mask: Tensor,
  { heads, keyValueHeads, headSize }: Dimensions,
  prefix?: KeysAndValues,
): CachedAttention {
  const [batch, , sequence] = mask.shape as [number, number, number];
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
  const inFront = prefix && toEveryRow(prefix, batch);
  const parts = [inFront, past, added].filter((part) => part !== undefined);
  const seen = inFront ? withFreeColumns(mask, inFront.keys.shape[2]!) : mask;

  const scores = concat(
    parts.map((part) => matmul(q, flat(part.keys), { transposeB: true, scale })),
    2,
  );
  const masked = add(
    reshape(capped(scores, scoreCap), [batch, heads, sequence, seen.shape[3]!]),
    seen,
  );
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

function toEveryRow({ keys, values }: KeysAndValues, batch: number): KeysAndValues {
  const spread = (x: Tensor) => broadcast(x, [batch, ...x.shape.slice(1)]);
  return { keys: spread(keys), values: spread(values) };
}
