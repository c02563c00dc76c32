// Attention over the cache as ONNX Runtime computes it: heads of a multiple of eight elements, and several
// rows at once only where each has a single new position.

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

/** The rows of a batch that one attention takes: all, or one, by its index. */
export type CachedRows = number | "all";

/** How the rows of a batch go through attention. */
export function attendedRows(batch: number, sequence: number): CachedRows[] {
  return sequence === 1 || batch === 1 ? ["all"] : [...new Array(batch).keys()];
}

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
  /** Keys, then values, for each of `attendedRows`: to be written where the cache of these rows lies. */
  readonly written: readonly Tensor[];
}

/** @param cacheOf the cache of rows, of heads of `cachedHeadSize` */
export function attendCached(
  { queries, keys, values, scale, scoreCap, reach }: AttentionInputs,
  { batch, sequence }: { readonly batch: number; readonly sequence: number },
  { heads, keyValueHeads, headSize, slidingWindow }: Dimensions,
  cacheOf: (rows: CachedRows) => CacheInputs,
): AttendedRows {
  const size = cachedHeadSize(headSize);
  const perRow = (x: Tensor, count: number) => {
    const rows = reshape(x, [batch, sequence, count * headSize]);
    if (size === headSize) return rows;
    const split = reshape(rows, [batch, sequence, count, headSize]);
    const rest = broadcast(constant(0), [batch, sequence, count, size - headSize]);
    return reshape(concat([split, rest], 3), [batch, sequence, count * size]);
  };
  const [q, k, v] = [
    perRow(queries, heads),
    perRow(keys, keyValueHeads),
    perRow(values, keyValueHeads),
  ];
  const attributes = {
    heads,
    keyValueHeads,
    scale,
    ...(scoreCap !== undefined && { scoreCap }),
    ...(reach === "local" && { window: slidingWindow }),
  };
  const parts = attendedRows(batch, sequence).map((rows) => {
    const of = (x: Tensor) => (rows === "all" ? x : slice(x, 0, rows, rows + 1));
    const own = { queries: of(q), keys: of(k), values: of(v) };
    return cachedAttention({ ...own, ...cacheOf(rows) }, attributes);
  });
  const output = concat(
    parts.map((part) => part.output),
    0,
  );
  const trimmed =
    size === headSize
      ? output
      : slice(reshape(output, [batch, sequence, heads, size]), 3, 0, headSize);
  return {
    output: reshape(trimmed, queries.shape),
    written: parts.flatMap((part) => [part.keys, part.values]),
  };
}
