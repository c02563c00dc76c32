// Attention over the cache as ONNX Runtime computes it: heads of a multiple of eight elements; several new
// positions of one row, or one of each of several.

import type { AttentionInputs, Dimensions } from "../../models/index.ts";
import {
  broadcast,
  cachedAttention,
  concat,
  constant,
  reshape,
  slice,
  type Tensor,
} from "../../tensor/index.ts";

/** The length of a head in the cache: what is beyond its own size is zero. */
export const cachedHeadSize = (headSize: number): number => Math.ceil(headSize / 8) * 8;

/** The cache of some rows as graph inputs, see `CachedAttentionInputs`. */
export interface CacheInputs {
  readonly keptKeys: Tensor;
  readonly keptValues: Tensor;
  readonly lastPositions: Tensor;
  readonly total: Tensor;
}

export interface AttendedRows {
  /** [batch · seq, heads · headSize] */
  readonly output: Tensor;
  /** Keys, then values: to be written where the cache of these rows lies. */
  readonly written: readonly [Tensor, Tensor];
}

/** @param cache of the rows, of heads of `cachedHeadSize` */
export function attendCached(
  { queries, keys, values, scale, scoreCap, reach }: AttentionInputs,
  { batch, sequence }: { readonly batch: number; readonly sequence: number },
  { heads, keyValueHeads, headSize, slidingWindow }: Dimensions,
  cache: CacheInputs,
): AttendedRows {
  const size = cachedHeadSize(headSize);
  const perRow = (x: Tensor, count: number) => {
    const rows = reshape(x, [batch, sequence, count * headSize]);
    if (size === headSize) return rows;
    const split = reshape(rows, [batch, sequence, count, headSize]);
    const rest = broadcast(constant(0), [batch, sequence, count, size - headSize]);
    return reshape(concat([split, rest], 3), [batch, sequence, count * size]);
  };
  const own = {
    queries: perRow(queries, heads),
    keys: perRow(keys, keyValueHeads),
    values: perRow(values, keyValueHeads),
  };
  const attended = cachedAttention(
    { ...own, ...cache },
    {
      heads,
      keyValueHeads,
      scale,
      ...(scoreCap !== undefined && { scoreCap }),
      ...(reach === "local" && { window: slidingWindow }),
    },
  );
  const trimmed =
    size === headSize
      ? attended.output
      : slice(reshape(attended.output, [batch, sequence, heads, size]), 3, 0, headSize);
  return {
    output: reshape(trimmed, queries.shape),
    written: [attended.keys, attended.values],
  };
}
