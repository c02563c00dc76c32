// Operators that choose: rows by index, elements by a condition, the largest of an axis; and the
// constant tables that they choose from.

import { createHash } from "node:crypto";
import { broadcastShape, node, shapeFault } from "./node.ts";
import type { Shape, Tensor } from "./tensor.ts";
import { sameShape, sizeOf } from "./tensor.ts";

/**
 * Values known when the graph is written, as part of it: for small tables, since every kernel that
 * uses one carries it, and graphs with other values are other kernels. The data is copied.
 */
export function constantTensor(data: Float32Array | BigInt64Array, shape: Shape): Tensor {
  const values = data.slice();
  const dtype = values instanceof Float32Array ? "float32" : "int64";
  const y = (digest: string) => node("constantTensor", [], shape, { data: values, digest }, dtype);
  const bytes = new Uint8Array(values.buffer);
  if (values.length !== sizeOf(shape))
    throw shapeFault("constantTensor", `${values.length} values fill the shape`, [y("")]);
  return y(createHash("sha256").update(bytes).digest("hex"));
}

/** Rows of `table` [n, width] at int64 `indices` [...]: [..., width]. */
export function gatherRows(table: Tensor, indices: Tensor): Tensor {
  if (table.shape.length !== 2 || indices.dtype !== "int64")
    throw shapeFault("gatherRows", "the table is [n, width], indices are int64", [table, indices]);
  const shape = [...indices.shape, table.shape[1]!];
  return node("gatherRows", [table, indices], shape, {}, table.dtype);
}

/**
 * The transpose of `gatherRows`: a table [count, width] whose row i is the sum of the `rows`
 * [..., width] that have index i in the int64 `indices` [...].
 */
export function scatterRows(rows: Tensor, indices: Tensor, count: number): Tensor {
  const fits = sameShape(rows.shape.slice(0, -1), indices.shape) && rows.shape.length > 0;
  if (!fits || indices.dtype !== "int64")
    throw shapeFault("scatterRows", "there is an int64 index for every row", [rows, indices]);
  return node("scatterRows", [rows, indices], [count, rows.shape.at(-1)!], {});
}

/** Whether a ≥ b, element by element, as a condition; flat, so no gradient passes. */
export function greaterOrEqual(a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShape(a.shape, b.shape);
  if (!shape || a.dtype !== b.dtype)
    throw shapeFault("greaterOrEqual", "operands must broadcast and have one type", [a, b]);
  return node("greaterOrEqual", [a, b], shape, {}, "bool");
}

/** Elements of `a` where the condition holds, of `b` where it does not; all three broadcast. */
export function where(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  const branches = broadcastShape(a.shape, b.shape);
  const shape = branches && broadcastShape(condition.shape, branches);
  if (!shape || condition.dtype !== "bool" || a.dtype !== b.dtype)
    throw shapeFault("where", "a condition and two operands of one type must broadcast", [
      condition,
      a,
      b,
    ]);
  return node("where", [condition, a, b], shape, {}, a.dtype);
}

/**
 * 1 for the `count` largest elements along the last axis, else 0; of equal ones those of lower index
 * are taken. Flat, so no gradient passes.
 */
export function topMask(x: Tensor, count: number): Tensor {
  const length = x.shape.at(-1) ?? 0;
  if (!Number.isInteger(count) || count < 1 || count > length)
    throw shapeFault("topMask", `the last axis has ${count} elements to take`, [x]);
  return node("topMask", [x], x.shape, { count });
}
