// The keys and values of all tokens so far, for every layer: what makes the next token cost one
// position instead of all of them. Rows of a batch may have different lengths. Attention writes new
// ones in place, behind those of each row.

import type { Dimensions } from "../../models/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { floatData, floats, rowsFrom } from "../../runtime/values.ts";

import { type CachedRows, cachedHeadSize } from "./cached-attention.ts";

/** Keys and values, each [batch, kv heads, positions, head size]. */
export interface KeysAndValues {
  readonly keys: Value;
  readonly values: Value;
}

export interface KeyValueCache {
  /** Positions that there is room for, those of a layer's prefix included. */
  readonly capacity: number;
  /** Positions kept of each row, behind the prefix. */
  readonly lengths: readonly number[];
  /**
   * A layer's keys and values of all rows or of one, each [rows, kv heads, capacity, head size], where
   * attention writes new ones; heads are of `cachedHeadSize`.
   */
  rows(layer: number, rows: CachedRows): KeysAndValues;
  /** How many positions stand in front of every row in a layer. */
  prefixLength(index: number): number;
  /** Makes room for `positions` in every row: the next doubling that suffices. */
  reserve(positions: number): void;
  /** Lengthens every row by what attention wrote in all layers. */
  advance(counts: readonly number[]): void;
  /** Forgets what lies behind the first `length` positions of a row. */
  truncate(row: number, length: number): void;
}

/**
 * @param first capacity at the start, in positions
 * @param prefixes what stands in front of every row, by layer; their first axis may be 1
 */
export function createKeyValueCache(
  { layers, keyValueHeads, headSize: ownSize, maximumPositions }: Dimensions,
  batch: number,
  first: number,
  prefixes: ReadonlyMap<number, KeysAndValues> = new Map(),
): KeyValueCache {
  const headSize = cachedHeadSize(ownSize);
  const lengths = new Array<number>(batch).fill(0);
  const prefixLength = (index: number) => prefixes.get(index)?.keys.dims[2] ?? 0;
  const longestPrefix = Math.max(0, ...[...prefixes.keys()].map(prefixLength));
  let capacity = 0;
  let tensors: KeysAndValues[] = [];

  /** Copies the first positions of each head, where `counted` says how many of a row's there are. */
  const copy = (from: Value, to: Value, counted: (row: number) => number) => {
    const [source, target] = [floatData(from), floatData(to)];
    const [rows, , fromPositions, fromSize] = from.dims as [number, number, number, number];
    for (let row = 0; row < batch; row++)
      for (let head = 0; head < keyValueHeads; head++) {
        const start = ((row % rows) * keyValueHeads + head) * fromPositions * fromSize;
        const into = (row * keyValueHeads + head) * to.dims[2]! * headSize;
        const used = counted(row) * fromSize;
        if (fromSize === headSize) target.set(source.subarray(start, start + used), into);
        else
          for (let at = 0; at < used; at += fromSize)
            target.set(
              source.subarray(start + at, start + at + fromSize),
              into + (at / fromSize) * headSize,
            );
      }
  };
  const grown = (index: number, part: keyof KeysAndValues, positions: number): Value => {
    const shape = [batch, keyValueHeads, positions, headSize];
    const value = floats(new Float32Array(shape.reduce((size, axis) => size * axis)), shape);
    const old = tensors[index]?.[part];
    const prefix = prefixes.get(index)?.[part];
    if (old) copy(old, value, (row) => prefixLength(index) + lengths[row]!);
    else if (prefix) copy(prefix, value, () => prefixLength(index));
    return value;
  };

  return {
    get capacity() {
      return capacity;
    },
    lengths,
    rows(index, rows) {
      const { keys, values } = tensors[index]!;
      if (rows === "all") return { keys, values };
      return { keys: rowsFrom(keys, rows, rows + 1), values: rowsFrom(values, rows, rows + 1) };
    },
    prefixLength,
    reserve(behindPrefix) {
      const positions = longestPrefix + behindPrefix;
      if (positions <= capacity) return;
      let wanted = Math.max(capacity, first);
      while (wanted < positions) wanted *= 2;
      wanted = Math.max(positions, Math.min(wanted, longestPrefix + maximumPositions));
      tensors = Array.from({ length: layers }, (_, index) => ({
        keys: grown(index, "keys", wanted),
        values: grown(index, "values", wanted),
      }));
      capacity = wanted;
    },
    advance(counts) {
      counts.forEach((count, row) => {
        lengths[row]! += count;
      });
    },
    truncate(row, length) {
      lengths[row] = Math.min(lengths[row]!, length);
    },
  };
}
