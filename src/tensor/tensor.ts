// A tensor is a node of a graph that has not been computed: an operator, its inputs and attributes,
// and the shape and type that follow from them. A graph is whatever is reachable from its outputs.

export type DType = "float32" | "int64" | "int32" | "uint8" | "int8" | "bool";
export type Shape = readonly number[];

/** Every operator with its attributes. The rule tables (shape, gradient, lowering) cover all of it. */
export interface OperatorAttributes {
  /** A value fed at run time. */
  input: { readonly name: string };
  /** A scalar known when the graph is written. */
  constant: { readonly value: number };
  /** Values known when the graph is written; the digest of their bytes stands for them in print. */
  constantTensor: { readonly data: Float32Array | BigInt64Array; readonly digest: string };
  add: object;
  subtract: object;
  multiply: object;
  divide: object;
  negate: object;
  exp: object;
  log: object;
  sqrt: object;
  sin: object;
  cos: object;
  abs: object;
  sign: object;
  sigmoid: object;
  /** x · σ(x) (Elfwing et al. 2017). */
  silu: object;
  tanh: object;
  erf: object;
  relu: object;
  /** scale · op(A) · op(B) over the last two axes; leading axes broadcast. */
  matmul: { readonly transposeA: boolean; readonly transposeB: boolean; readonly scale: number };
  /** The largest magnitude of each row [rows, width] divided by 127: [rows, 1], never zero. */
  rowScales: object;
  /** Rows divided by their scales [rows, 1], to the nearest whole number, as uint8 around 128. */
  rowCodes: object;
  /**
   * Row codes [rows, inner] times int8 [inner, columns], summed in whole numbers, then scaled by row
   * (second input, [rows, 1]) and, where there is a fourth input, by column ([columns]).
   */
  integerMatmul: object;
  /** See `blockLinear`. */
  blockLinear: { readonly bits: 4 | 8; readonly blockSize: number };
  /** See `cachedAttention`; `window` counts the positions that each one sees, itself included. */
  cachedAttention: {
    readonly heads: number;
    readonly keyValueHeads: number;
    readonly scale: number;
    readonly window?: number;
    readonly scoreCap?: number;
  };
  /** The cache behind a `cachedAttention`, its input. */
  cachedKeys: object;
  cachedValues: object;
  /** Matrix inverse over the last two of three axes. */
  inverse: object;
  /** Sum over axes, which stay with length 1. */
  sum: { readonly axes: readonly number[] };
  /** Largest element over axes, which stay with length 1; no gradient flows (see `stopGradient`). */
  maximum: { readonly axes: readonly number[] };
  /** Softmax over the last axis. */
  softmax: object;
  /** x / sqrt(mean(x²) + epsilon) · weight over the last axis (Zhang & Sennrich 2019). */
  rmsNorm: { readonly epsilon: number };
  /** 1 / sqrt(mean(x²) + epsilon), last axis of length 1: what the gradient of rmsNorm needs. */
  inverseRms: { readonly epsilon: number };
  reshape: object;
  transpose: { readonly permutation: readonly number[] };
  slice: { readonly axis: number; readonly start: number; readonly end: number };
  concat: { readonly axis: number };
  broadcast: object;
  /**
   * Rotary position embedding of [batch, seq, heads·dim] (Su et al. 2021): inputs x, positions
   * [batch, seq] int64, cosines and sines [positions, rotated / 2]. Of each head the first `rotated`
   * elements turn in pairs: of both halves as in Transformers, or of neighbours where interleaved.
   */
  rotary: { readonly heads: number; readonly interleaved: boolean };
  /** Rows of a table [n, width] at indices [...]: [..., width]. */
  gatherRows: object;
  /** Rows [..., width] summed into a table [n, width] at indices [...]. */
  scatterRows: object;
  /** Whether a ≥ b, as bool. */
  greaterOrEqual: object;
  /** The second input where the first, a bool, holds; the third where it does not. */
  where: object;
  /** 1 for the `count` largest of the last axis, the lower index first among equals; else 0. */
  topMask: { readonly count: number };
  /** uint8 or bool to float32. */
  toFloat: object;
  /** Its input, seen as a constant by differentiation. */
  stopGradient: object;
  /** Its first input, with a gradient written by hand for all further inputs. */
  withGradient: { readonly rule: GradientRule };
}

export type OperatorName = keyof OperatorAttributes;

/** Gradients for each of the given inputs, from the gradient of the output. */
export type GradientRule = (outputGradient: Tensor) => readonly (Tensor | undefined)[];

export interface TensorOf<O extends OperatorName> {
  readonly operator: O;
  readonly inputs: readonly Tensor[];
  readonly attributes: OperatorAttributes[O];
  readonly shape: Shape;
  readonly dtype: DType;
}

export type Tensor = { [O in OperatorName]: TensorOf<O> }[OperatorName];

/** Number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, length) => product * length, 1);
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((length, axis) => length === b[axis]);
}
