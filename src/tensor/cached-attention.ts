// Attention of new positions over those before them, whose keys and values lie in a cache that is
// written in place. It exists for generation alone and has no gradient.

import { node, shapeFault } from "./node.ts";
import type { OperatorAttributes, Tensor } from "./tensor.ts";
import { sameShape } from "./tensor.ts";

export interface CachedAttentionInputs {
  /** [batch, seq, heads · headSize], rotated. */
  readonly queries: Tensor;
  /** [batch, seq, keyValueHeads · headSize], rotated. */
  readonly keys: Tensor;
  readonly values: Tensor;
  /** What was kept, [batch, keyValueHeads, capacity, headSize]; new ones are written behind it. */
  readonly keptKeys: Tensor;
  readonly keptValues: Tensor;
  /** int32 [batch]: each row's last new position, padding included. */
  readonly lastPositions: Tensor;
  /** int32 [1]: the largest of them, and one. */
  readonly total: Tensor;
}

export interface CachedAttention {
  /** [batch, seq, heads · headSize] */
  readonly output: Tensor;
  /** The cache with the new positions in it: to be written where the old one lies. */
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Every position sees its row's kept ones, itself, and the new ones before it. */
export function cachedAttention(
  inputs: CachedAttentionInputs,
  attributes: OperatorAttributes["cachedAttention"],
): CachedAttention {
  const { queries, keys, values, keptKeys, keptValues, lastPositions, total } = inputs;
  const [batch, sequence, width] = queries.shape as [number, number, number];
  const { heads, keyValueHeads } = attributes;
  const headSize = width / heads;
  const ownShape = [batch, sequence, keyValueHeads * headSize];
  const keptShape = [batch, keyValueHeads, keptKeys.shape[2] ?? 0, headSize];
  const fits =
    sameShape(keys.shape, ownShape) &&
    sameShape(values.shape, ownShape) &&
    sameShape(keptKeys.shape, keptShape) &&
    sameShape(keptValues.shape, keptShape) &&
    lastPositions.dtype === "int32" &&
    total.dtype === "int32";
  if (!fits)
    throw shapeFault("cachedAttention", "queries, keys, values and cache have the same heads", [
      queries,
      keys,
      values,
      keptKeys,
      keptValues,
    ]);
  const given = [queries, keys, values, keptKeys, keptValues, lastPositions, total];
  const output = node("cachedAttention", given, queries.shape, attributes);
  return {
    output,
    keys: node("cachedKeys", [output], keptShape, {}),
    values: node("cachedValues", [output], keptShape, {}),
  };
}
