// The keys and values of all tokens so far, for every layer: what makes the next token cost one
// position instead of all of them. Each row of a batch lies in a slot of its own and has a length of its
// own; attention writes new ones in place, behind those of each row. Rows that are to be computed
// together are brought into the first slots, which copies only those that lie elsewhere.

import type { Dimensions } from "../../models/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { floatData, floats, rowsFrom } from "../../runtime/values.ts";
import { sizeOf } from "../../tensor/index.ts";
import { cachedHeadSize } from "./cached-attention.ts";

/** Keys and values, each [slots, kv heads, positions, head size]. */
export interface KeysAndValues {
  readonly keys: Value;
  readonly values: Value;
}

export interface KeyValueCache {
  /** Positions that there is room for in each slot, those of a layer's prefix included. */
  readonly capacity: number;
  /** Slots that there is memory for. */
  readonly slots: number;
  /** Positions kept of each row, behind the prefix. */
  readonly lengths: readonly number[];
  /** The slot that a row lies in; one that has none yet gets one. */
  slotFor(row: number): number;
  /**
   * Brings rows into the first slots.
   * @returns the rows of the first `count` slots; those that were not asked for come last
   */
  gather(rows: readonly number[], count: number): readonly number[];
  /**
   * A layer's keys and values in `count` slots from `first`, each [count, kv heads, capacity, head size],
   * where attention writes new ones; heads are of `cachedHeadSize`.
   */
  at(layer: number, first: number, count: number): KeysAndValues;
  /** How many positions stand in front of every row in a layer. */
  prefixLength(layer: number): number;
  /**
   * Makes room for so many slots of so many positions behind the prefix: for positions the next doubling
   * that suffices. What it takes is `cacheBytes` of what it makes.
   */
  reserve(slots: number, positions: number): void;
  /** Lengthens a row by what attention wrote in all layers. */
  advance(row: number, count: number): void;
  /** Forgets what lies behind the first `length` positions of a row. */
  truncate(row: number, length: number): void;
}

/** Bytes of the keys and values of so many positions, in all layers. */
export const cacheBytes = ({ layers, keyValueHeads, headSize }: Dimensions, positions: number) =>
  positions * layers * keyValueHeads * cachedHeadSize(headSize) * 2 * 4;

/** What `reserve` makes of the positions that are asked for: few distinct numbers, as each has kernels. */
export function roundedCapacity(
  positions: number,
  first: number,
  { maximumPositions }: Pick<Dimensions, "maximumPositions">,
): number {
  let rounded = first;
  while (rounded < positions) rounded *= 2;
  return Math.max(positions, Math.min(rounded, maximumPositions));
}

/**
 * @param rows how many there may be
 * @param first capacity at the start, in positions
 * @param prefixes what stands in front of every row, by layer; their first axis may be 1
 */
export function createKeyValueCache(
  dimensions: Dimensions,
  rows: number,
  first: number,
  prefixes: ReadonlyMap<number, KeysAndValues> = new Map(),
): KeyValueCache {
  const { layers, keyValueHeads } = dimensions;
  const headSize = cachedHeadSize(dimensions.headSize);
  const lengths = new Array<number>(rows).fill(0);
  const prefixLength = (layer: number) => prefixes.get(layer)?.keys.dims[2] ?? 0;
  const longestPrefix = Math.max(0, ...[...prefixes.keys()].map(prefixLength));
  /** The row in each slot; each is in one, whether or not there is memory for it yet. */
  let rowAt = [...new Array(rows).keys()];
  let capacity = 0;
  let slots = 0;
  let tensors: KeysAndValues[] = [];
  const views = new Map<string, KeysAndValues[]>();

  /** The elements of a slot's head from its position `from` on. */
  const elements = (value: Value, slot: number, head: number, from: number, count: number) => {
    const [given, , positions, size] = value.dims as [number, number, number, number];
    const start = (((slot % given) * keyValueHeads + head) * positions + from) * size;
    return floatData(value).subarray(start, start + count * size);
  };
  /** Copies what a row keeps, or its prefix. */
  const copy = (
    from: Value,
    fromSlot: number,
    to: Value,
    toSlot: number,
    start: number,
    n: number,
  ) => {
    for (let head = 0; head < keyValueHeads; head++)
      elements(to, toSlot, head, start, n).set(elements(from, fromSlot, head, start, n));
  };
  /** A prefix has heads of the model's own size. */
  const writePrefix = (prefix: Value, value: Value) => {
    const [, , count, ownSize] = prefix.dims as [number, number, number, number];
    for (let slot = 0; slot < value.dims[0]!; slot++)
      for (let head = 0; head < keyValueHeads; head++) {
        const target = elements(value, slot, head, 0, count);
        const source = elements(prefix, slot, head, 0, count);
        for (let t = 0; t < count; t++)
          target.set(source.subarray(t * ownSize, (t + 1) * ownSize), t * headSize);
      }
  };
  const partsOf = function* (): Generator<[Value, number]> {
    for (const [layer, { keys, values }] of tensors.entries())
      for (const value of [keys, values]) yield [value, prefixLength(layer)];
  };
  const exchange = (a: number, b: number) => {
    const [rowA, rowB] = [rowAt[a]!, rowAt[b]!];
    const [countA, countB] = [lengths[rowA]!, lengths[rowB]!];
    for (const [value, start] of partsOf())
      for (let head = 0; head < keyValueHeads; head++) {
        const [ofA, ofB] = [a, b].map((slot) =>
          elements(value, slot, head, start, Math.max(countA, countB)),
        ) as [Float32Array, Float32Array];
        const held = ofA.slice(0, countA * headSize);
        ofA.set(ofB.subarray(0, countB * headSize));
        ofB.set(held);
      }
    rowAt[a] = rowB;
    rowAt[b] = rowA;
  };

  /** Takes memory anew, with the rows that keep something in front. */
  const allocate = (newSlots: number, newCapacity: number) => {
    const order = rowAt.map((row, slot) => ({ row, slot }));
    order.sort((a, b) => Number(lengths[b.row]! > 0) - Number(lengths[a.row]! > 0));
    const shape = [newSlots, keyValueHeads, newCapacity, headSize];
    const grown = (layer: number, part: keyof KeysAndValues): Value => {
      const value = floats(new Float32Array(sizeOf(shape)), shape);
      const prefix = prefixes.get(layer)?.[part];
      if (prefix) writePrefix(prefix, value);
      const old = tensors[layer]?.[part];
      order.forEach(({ row, slot }, to) => {
        if (old && lengths[row]! > 0)
          copy(old, slot, value, to, prefixLength(layer), lengths[row]!);
      });
      return value;
    };
    tensors = Array.from({ length: layers }, (_, layer) => ({
      keys: grown(layer, "keys"),
      values: grown(layer, "values"),
    }));
    rowAt = order.map(({ row }) => row);
    [slots, capacity] = [newSlots, newCapacity];
    views.clear();
  };

  const slotFor = (row: number): number => {
    const slot = rowAt.indexOf(row);
    if (slot < slots) return slot;
    let free = rowAt.findIndex((other, at) => at < slots && lengths[other] === 0);
    if (free < 0) {
      free = slots;
      allocate(Math.min(rows, 2 * slots), capacity);
    }
    const place = rowAt.indexOf(row);
    [rowAt[place], rowAt[free]] = [rowAt[free]!, row];
    return free;
  };

  return {
    get capacity() {
      return capacity;
    },
    get slots() {
      return slots;
    },
    lengths,
    slotFor,
    gather(wanted, count) {
      for (const row of wanted) slotFor(row);
      const elsewhere = wanted.filter((row) => rowAt.indexOf(row) >= wanted.length);
      for (let slot = 0; slot < wanted.length; slot++)
        if (!wanted.includes(rowAt[slot]!)) exchange(slot, rowAt.indexOf(elsewhere.pop()!));
      return rowAt.slice(0, count);
    },
    at(layer, start, count) {
      if (start === 0 && count === slots) return tensors[layer]!;
      const key = `${start} ${count}`;
      let seen = views.get(key);
      if (!seen) {
        const part = (value: Value) => rowsFrom(value, start, start + count);
        seen = tensors.map(({ keys, values }) => ({ keys: part(keys), values: part(values) }));
        views.set(key, seen);
      }
      return seen[layer]!;
    },
    prefixLength,
    reserve(wantedSlots, behindPrefix) {
      const positions = longestPrefix + behindPrefix;
      if (wantedSlots <= slots && positions <= capacity) return;
      const kept = lengths.filter((length) => length > 0);
      const enough = Math.max(positions, longestPrefix + Math.max(0, ...kept) + 1);
      const { maximumPositions } = dimensions;
      const limit = { maximumPositions: longestPrefix + maximumPositions };
      allocate(Math.max(wantedSlots, kept.length), roundedCapacity(enough, first, limit));
    },
    advance(row, count) {
      lengths[row]! += count;
    },
    truncate(row, length) {
      lengths[row] = Math.min(lengths[row]!, length);
    },
  };
}
