// Grouped-query attention over a whole sequence, in blocks of queries: a block multiplies only with
// the keys that some query of it may see, so a causal mask costs about half of a full one, and the
// scores of one block are all that is in memory at a time. The gradient is the one of
// FlashAttention-2 (Dao 2023, section 3.1): probabilities are made again from queries and keys.

import type { Tensor } from "../tensor/index.ts";
import {
  add,
  broadcast,
  concat,
  constant,
  matmul,
  multiply,
  reshape,
  slice,
  softmax,
  subtract,
  sum,
  tanh,
  transpose,
  withGradient,
} from "../tensor/index.ts";
import type { AttentionInputs } from "./architecture.ts";

/** How scores are made from products of queries and keys, see `AttentionInputs`. */
export type ScoreShape = Pick<AttentionInputs, "scale" | "scoreCap">;

export interface AttentionShape {
  readonly batch: number;
  readonly sequence: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  /** Whether the mask may allow looking ahead, so that every block reads all keys. */
  readonly seesContext?: boolean;
}

/** Keys and values in front of the sequence that every query sees. */
export interface AttentionPrefix {
  /** [1 or batch, kv heads, prefix length, head size] */
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** First and last query (excluded) of each block. */
export function queryBlocks(sequence: number): [start: number, end: number][] {
  const smallest = 128; // below this, products are too small to run at full speed
  const count = Math.min(8, Math.max(1, Math.floor(sequence / smallest)));
  const bound = (i: number) => Math.round((sequence * i) / count);
  return Array.from({ length: count }, (_, i) => [bound(i), bound(i + 1)]);
}

/**
 * @param queries [batch · seq, heads · headSize]
 * @param keys [batch · seq, keyValueHeads · headSize], values likewise
 * @param mask [batch or 1, 1, seq, seq], added to the scores; nothing above the diagonal is read
 *   outside a block, so it must forbid looking ahead, unless the shape says otherwise
 * @param prefix keys and values that stand before the sequence's own
 * @returns [batch · seq, heads · headSize]
 */
export function causalAttention(
  queries: Tensor,
  keys: Tensor,
  values: Tensor,
  mask: Tensor,
  { scale, scoreCap }: ScoreShape,
  { batch, sequence, heads, keyValueHeads, headSize, seesContext }: AttentionShape,
  prefix?: AttentionPrefix,
): Tensor {
  const groups = heads / keyValueHeads;
  const pairs = batch * keyValueHeads;
  const blocks = queryBlocks(sequence);

  // Queries of one key-value head lie together: [batch, kv heads, groups, seq, head size].
  const split = [batch, sequence, keyValueHeads, groups, headSize];
  const q = transpose(reshape(queries, split), [0, 2, 3, 1, 4]);
  const perHead = (x: Tensor) =>
    reshape(transpose(reshape(x, [batch, sequence, keyValueHeads, headSize]), [0, 2, 1, 3]), [
      pairs,
      sequence,
      headSize,
    ]);
  /** How many keys the block that ends there reads of the sequence's own. */
  const reached = (end: number) => (seesContext ? sequence : end);
  const before = prefix?.keys.shape[2] ?? 0;
  const withPrefix = (states: Tensor | undefined, own: Tensor): Tensor => {
    if (!states) return own;
    const rows = broadcast(states, [batch, keyValueHeads, before, headSize]);
    return concat([reshape(rows, [pairs, before, headSize]), own], 1);
  };
  const k = withPrefix(prefix?.keys, perHead(keys));
  const v = withPrefix(prefix?.values, perHead(values));
  const seen = before === 0 ? mask : withFreeColumns(mask, before);

  const rowsOf = (x: Tensor, [start, end]: [number, number]) =>
    reshape(slice(x, 3, start, end), [pairs, groups * (end - start), x.shape[4]!]);
  const blockOf = (x: Tensor, [start, end]: [number, number]) =>
    reshape(x, [batch, keyValueHeads, groups, end - start, x.shape[2]!]);

  // Each part is cut once: the gradient reads the same ones.
  const parts = blocks.map(([start, end]) => {
    const keyEnd = before + reached(end);
    const visible = slice(slice(seen, 2, start, end), 3, 0, keyEnd);
    return {
      q: rowsOf(q, [start, end]),
      k: slice(k, 1, 0, keyEnd),
      v: slice(v, 1, 0, keyEnd),
      visible,
    };
  });
  const probabilities = parts.map(({ q, k, visible }) => {
    const scores = matmul(q, k, { transposeB: true, scale });
    const bent = capped(scores, scoreCap);
    const [, , rows, columns] = visible.shape as [number, number, number, number];
    const masked = add(reshape(bent, [batch, heads, rows, columns]), visible);
    return { bent, p: reshape(softmax(masked), scores.shape) };
  });
  const outputs = blocks.map((block, i) =>
    blockOf(matmul(probabilities[i]!.p, parts[i]!.v), block),
  );
  const output = concat(outputs, 3);

  const differentiable = withGradient(output, [q, k, v], (gradient) => {
    let keyGradient: Tensor | undefined;
    let valueGradient: Tensor | undefined;
    const queryGradients: Tensor[] = [];
    // From the last block down, so that what later blocks gave to earlier keys is there to add to.
    for (let i = blocks.length - 1; i >= 0; i--) {
      const block = blocks[i]!;
      const part = parts[i]!;
      const { bent, p } = probabilities[i]!;
      const d = rowsOf(gradient, block);
      const own = reshape(outputs[i]!, d.shape);
      const delta = sum(multiply(d, own), [2]);
      const bentGradient = multiply(p, subtract(matmul(d, part.v, { transposeB: true }), delta));
      const scoreGradient = scoreCap
        ? multiply(bentGradient, capSlope(bent, scoreCap))
        : bentGradient;
      queryGradients.unshift(blockOf(matmul(scoreGradient, part.k, { scale }), block));
      const toKeys = matmul(scoreGradient, part.q, { transposeA: true, scale });
      const toValues = matmul(p, d, { transposeA: true });
      keyGradient = accumulatePrefix(keyGradient, toKeys);
      valueGradient = accumulatePrefix(valueGradient, toValues);
    }
    return [concat(queryGradients, 3), keyGradient, valueGradient];
  });
  return reshape(transpose(differentiable, [0, 3, 1, 2, 4]), [batch * sequence, heads * headSize]);
}

/** cap · tanh(x / cap), or x where there is no cap. */
export function capped(x: Tensor, cap: number | undefined): Tensor {
  return cap === undefined ? x : multiply(tanh(multiply(x, constant(1 / cap))), constant(cap));
}

/** The slope of `capped`, from its output: 1 − (y / cap)². */
function capSlope(y: Tensor, cap: number): Tensor {
  return subtract(constant(1), multiply(multiply(y, y), constant(1 / cap ** 2)));
}

/** A mask [*, 1, seq, seq] with `count` columns in front that hide nothing. */
function withFreeColumns(mask: Tensor, count: number): Tensor {
  const [rows, , sequence] = mask.shape as [number, number, number];
  return concat([broadcast(constant(0), [rows, 1, sequence, count]), mask], 3);
}

/** Adds `part` to the first rows (axis 1) of `total`. */
function accumulatePrefix(total: Tensor | undefined, part: Tensor): Tensor {
  if (!total) return part;
  const [end, length] = [part.shape[1]!, total.shape[1]!];
  const head = add(slice(total, 1, 0, end), part);
  return end === length ? head : concat([head, slice(total, 1, end, length)], 1);
}
