// The keys and values of all tokens so far, for every layer: what makes the next token cost one
// position instead of all of them. Rows of a batch may have different lengths.

import type { Dimensions } from "../../models/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { floatData, floats } from "../../runtime/values.ts";
import { HIDDEN_SCORE } from "../inputs.ts";

export interface KeyValueCache {
  /** Positions that there is room for. */
  readonly capacity: number;
  /** Positions kept of each row. */
  readonly lengths: readonly number[];
  /** A layer's keys and values, each [batch, kv heads, capacity, head size]. */
  layer(index: number): { readonly keys: Value; readonly values: Value };
  /** Makes room for `positions` in every row: the next doubling that suffices. */
  reserve(positions: number): void;
  /**
   * Keeps a layer's new keys and values [batch, kv heads, sequence, head size] behind those of each
   * row; `counts` says how many of a row's are real. Lengths stay until `advance`.
   */
  store(index: number, added: { keys: Value; values: Value }, counts: readonly number[]): void;
  /** Lengthens every row by what was stored for all layers. */
  advance(counts: readonly number[]): void;
  /** Forgets what lies behind the first `length` positions of a row. */
  truncate(row: number, length: number): void;
}

/** @param first capacity at the start, in positions */
export function createKeyValueCache(
  { layers, keyValueHeads, headSize, maximumPositions }: Dimensions,
  batch: number,
  first: number,
): KeyValueCache {
  const lengths = new Array<number>(batch).fill(0);
  const pairs = batch * keyValueHeads;
  let capacity = 0;
  let tensors: { keys: Value; values: Value }[] = [];

  const grown = (old: Value | undefined, positions: number): Value => {
    const data = new Float32Array(pairs * positions * headSize);
    if (old)
      for (let pair = 0; pair < pairs; pair++) {
        const from = pair * capacity * headSize;
        const used = lengths[Math.floor(pair / keyValueHeads)]! * headSize;
        data.set(floatData(old).subarray(from, from + used), pair * positions * headSize);
      }
    return floats(data, [batch, keyValueHeads, positions, headSize]);
  };
  const copy = (from: Value, to: Value, counts: readonly number[]) => {
    const source = floatData(from);
    const target = floatData(to);
    const sequence = from.dims[2]!;
    for (let row = 0; row < batch; row++) {
      if (counts[row] === 0) continue;
      for (let head = 0; head < keyValueHeads; head++) {
        const pair = row * keyValueHeads + head;
        const start = pair * sequence * headSize;
        target.set(
          source.subarray(start, start + counts[row]! * headSize),
          (pair * capacity + lengths[row]!) * headSize,
        );
      }
    }
  };

  return {
    get capacity() {
      return capacity;
    },
    lengths,
    layer: (index) => tensors[index]!,
    reserve(positions) {
      if (positions <= capacity) return;
      let wanted = Math.max(capacity, first);
      while (wanted < positions) wanted *= 2;
      wanted = Math.max(positions, Math.min(wanted, maximumPositions));
      tensors = Array.from({ length: layers }, (_, index) => ({
        keys: grown(tensors[index]?.keys, wanted),
        values: grown(tensors[index]?.values, wanted),
      }));
      capacity = wanted;
    },
    store(index, added, counts) {
      const { keys, values } = tensors[index]!;
      copy(added.keys, keys, counts);
      copy(added.values, values, counts);
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

/**
 * The mask [batch, 1, sequence, kept + sequence] of new tokens that come behind `lengths` kept ones:
 * each sees its row's kept positions, itself, and the new ones before it.
 * @param window positions that each one sees, itself included
 */
export function cacheMask(
  lengths: readonly number[],
  kept: number,
  sequence: number,
  target: Float32Array,
  window = Number.POSITIVE_INFINITY,
): void {
  target.fill(HIDDEN_SCORE);
  const width = kept + sequence;
  lengths.forEach((length, row) => {
    for (let query = 0; query < sequence; query++) {
      const start = (row * sequence + query) * width;
      // Of the kept positions and the new ones up to this, so many lie before the window.
      const hidden = Math.max(0, length + query + 1 - window);
      if (kept > 0) target.fill(0, start + Math.min(hidden, length), start + length);
      const own = start + kept;
      target.fill(0, own + Math.max(0, hidden - length), own + query + 1);
    }
  });
}
