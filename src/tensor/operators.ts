// The operators as functions: each checks its inputs, derives shape and type, and makes the node.

import { broadcastShape, node, shapeFault } from "./node.ts";
import type { DType, GradientRule, Shape, Tensor } from "./tensor.ts";
import { sameShape, sizeOf } from "./tensor.ts";

export function input(name: string, shape: Shape, dtype: DType = "float32"): Tensor {
  return node("input", [], shape, { name }, dtype);
}

export function constant(value: number): Tensor {
  return node("constant", [], [], { value });
}

type Binary = "add" | "subtract" | "multiply" | "divide";
function binary(operator: Binary, a: Tensor, b: Tensor): Tensor {
  const shape = broadcastShape(a.shape, b.shape);
  if (!shape) throw shapeFault(operator, "operands must broadcast", [a, b]);
  return node(operator, [a, b], shape, {});
}
export const add = (a: Tensor, b: Tensor): Tensor => binary("add", a, b);
export const subtract = (a: Tensor, b: Tensor): Tensor => binary("subtract", a, b);
export const multiply = (a: Tensor, b: Tensor): Tensor => binary("multiply", a, b);
export const divide = (a: Tensor, b: Tensor): Tensor => binary("divide", a, b);

type Unary =
  | "negate"
  | "exp"
  | "log"
  | "sqrt"
  | "sin"
  | "cos"
  | "abs"
  | "sign"
  | "sigmoid"
  | "silu"
  | "tanh"
  | "erf"
  | "relu"
  | "softmax"
  | "stopGradient";
const unary = (operator: Unary, x: Tensor): Tensor => node(operator, [x], x.shape, {}, x.dtype);
export const negate = (x: Tensor): Tensor => unary("negate", x);
export const exp = (x: Tensor): Tensor => unary("exp", x);
export const log = (x: Tensor): Tensor => unary("log", x);
export const sqrt = (x: Tensor): Tensor => unary("sqrt", x);
export const sin = (x: Tensor): Tensor => unary("sin", x);
export const cos = (x: Tensor): Tensor => unary("cos", x);
export const abs = (x: Tensor): Tensor => unary("abs", x);
/** −1, 0 or 1; flat, so no gradient passes. */
export const sign = (x: Tensor): Tensor => unary("sign", x);
export const sigmoid = (x: Tensor): Tensor => unary("sigmoid", x);
export const silu = (x: Tensor): Tensor => unary("silu", x);
export const tanh = (x: Tensor): Tensor => unary("tanh", x);
export const erf = (x: Tensor): Tensor => unary("erf", x);
export const relu = (x: Tensor): Tensor => unary("relu", x);
export const softmax = (x: Tensor): Tensor => unary("softmax", x);
export const stopGradient = (x: Tensor): Tensor => unary("stopGradient", x);

export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly scale?: number;
}

/** scale · op(a) · op(b); `a` is [..., m, k], `b` [..., k, n]; leading axes broadcast. */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  if (a.shape.length === 2 && b.shape.length > 2)
    return matmul(reshape(a, [1, ...a.shape]), b, options);
  const { transposeA = false, transposeB = false, scale = 1 } = options;
  const [rows, inner] = lastTwo(a.shape, transposeA);
  const [innerB, columns] = lastTwo(b.shape, transposeB);
  // A shared [k, n] is multiplied with all rows of `a` at once, which a transposed batch has not.
  const refused = b.shape.length === 2 && a.shape.length > 2 && transposeA;
  const leading = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  if (a.shape.length < 2 || b.shape.length < 2 || inner !== innerB || !leading || refused)
    throw shapeFault("matmul", "inner lengths and leading axes must agree", [a, b]);
  const shape = [...leading, rows, columns];
  return node("matmul", [a, b], shape, { transposeA, transposeB, scale });
}

function lastTwo(shape: Shape, transposed: boolean): [number, number] {
  const rows = shape.at(-2) ?? 0;
  const columns = shape.at(-1) ?? 0;
  return transposed ? [columns, rows] : [rows, columns];
}

/** x · Wᵀ for `x` [rows, in] and a weight stored [out, in], as checkpoints store it. */
export const linear = (x: Tensor, weight: Tensor): Tensor =>
  matmul(x, weight, { transposeB: true });

/** The inverse of every [size, size] matrix of [count, size, size]; singular ones give no number. */
export function inverse(x: Tensor): Tensor {
  if (x.shape.length !== 3 || x.shape[1] !== x.shape[2])
    throw shapeFault("inverse", "x is [count, size, size]", [x]);
  return node("inverse", [x], x.shape, {});
}

const kept = (shape: Shape, axes: readonly number[]): Shape =>
  shape.map((length, axis) => (axes.includes(axis) ? 1 : length));
export const sum = (x: Tensor, axes: readonly number[]): Tensor =>
  node("sum", [x], kept(x.shape, axes), { axes });
export const maximum = (x: Tensor, axes: readonly number[]): Tensor =>
  node("maximum", [x], kept(x.shape, axes), { axes });

export function rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  if (weight.shape.length !== 1 || weight.shape[0] !== x.shape.at(-1))
    throw shapeFault("rmsNorm", "the weight has the length of the last axis", [x, weight]);
  return node("rmsNorm", [x, weight], x.shape, { epsilon });
}
/** Takes the norm's weight too, because the runtime computes both in one pass over x. */
export const inverseRms = (x: Tensor, weight: Tensor, epsilon: number): Tensor =>
  node("inverseRms", [x, weight], [...x.shape.slice(0, -1), 1], { epsilon });

export function reshape(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  if (sizeOf(x.shape) !== sizeOf(shape))
    throw shapeFault("reshape", `the elements must fill [${shape.join(", ")}]`, [x]);
  return node("reshape", [x], shape, {}, x.dtype);
}

export function transpose(x: Tensor, permutation: readonly number[]): Tensor {
  const shape = permutation.map((axis) => x.shape[axis] ?? 0);
  if (permutation.length !== x.shape.length)
    throw shapeFault("transpose", "the permutation names every axis", [x]);
  return node("transpose", [x], shape, { permutation }, x.dtype);
}

/** Elements `start` (included) to `end` (excluded) of one axis. */
export function slice(x: Tensor, axis: number, start: number, end: number): Tensor {
  const length = x.shape[axis] ?? 0;
  if (start < 0 || end > length || start >= end)
    throw shapeFault("slice", `${start}..${end} lies within axis ${axis}`, [x]);
  if (start === 0 && end === length) return x;
  const shape = x.shape.map((old, i) => (i === axis ? end - start : old));
  return node("slice", [x], shape, { axis, start, end }, x.dtype);
}

export function concat(parts: readonly Tensor[], axis: number): Tensor {
  const first = parts[0];
  if (!first) throw shapeFault("concat", "there is at least one part", parts);
  if (parts.length === 1) return first;
  const fits = (part: Tensor) =>
    part.shape.every((length, i) => i === axis || length === first.shape[i]);
  if (!parts.every(fits)) throw shapeFault("concat", "parts differ in one axis only", parts);
  const total = parts.reduce((length, part) => length + (part.shape[axis] ?? 0), 0);
  const shape = first.shape.map((length, i) => (i === axis ? total : length));
  return node("concat", parts, shape, { axis }, first.dtype);
}

export function broadcast(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const result = broadcastShape(x.shape, shape);
  if (!result || !sameShape(result, shape))
    throw shapeFault("broadcast", `it widens to [${shape.join(", ")}]`, [x]);
  return node("broadcast", [x], shape, {});
}

/** See `OperatorAttributes.rotary`. */
export function rotary(
  x: Tensor,
  positions: Tensor,
  cosines: Tensor,
  sines: Tensor,
  heads: number,
  interleaved = false,
): Tensor {
  const size = (x.shape[2] ?? 0) / heads;
  if (x.shape.length !== 3 || size % 1 !== 0 || size < 2 * (cosines.shape[1] ?? 0))
    throw shapeFault("rotary", "x is [batch, seq, heads·dim], tables are [positions, ≤ dim / 2]", [
      x,
      cosines,
    ]);
  return node("rotary", [x, positions, cosines, sines], x.shape, { heads, interleaved });
}

export const toFloat = (x: Tensor): Tensor => node("toFloat", [x], x.shape, {});

/**
 * `output`, whose gradient with respect to `inputs` is given by `rule` instead of being derived:
 * for places where a formula known from the literature needs less memory or work.
 */
export function withGradient(
  output: Tensor,
  inputs: readonly Tensor[],
  rule: GradientRule,
): Tensor {
  return node("withGradient", [output, ...inputs], output.shape, { rule }, output.dtype);
}

/** Sums a gradient back to the shape that was broadcast from. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const offset = x.shape.length - shape.length;
  const axes = x.shape.flatMap((length, axis) =>
    axis < offset || (shape[axis - offset] === 1 && length !== 1) ? [axis] : [],
  );
  return reshape(axes.length > 0 ? sum(x, axes) : x, shape);
}

/** Mean over the last axis, which stays with length 1. */
export const meanLast = (x: Tensor): Tensor =>
  multiply(sum(x, [x.shape.length - 1]), constant(1 / (x.shape.at(-1) ?? 1)));
