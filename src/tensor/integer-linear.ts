// Products with a frozen weight in 8-bit integers, forward and backward: each row of activations (and
// of gradients) is rounded to whole numbers by a scale of its own, each row of the weight has been.
// What SwitchBack (Wortsman et al. 2023, section 2.2) does for training and LLM.int8() (Dettmers et
// al. 2022, section 2.1) for inference; nothing but frozen weights is multiplied like this.

import { node, shapeFault } from "./node.ts";
import { multiply, withGradient } from "./operators.ts";
import type { Tensor } from "./tensor.ts";

/** A weight W [out, in] in whole numbers: W = codes · scales, row by row. */
export interface IntegerWeight {
  /** int8 [out, in], what the gradient is multiplied with. */
  readonly codes: Tensor;
  /** int8 [in, out], what rows of activations are multiplied with. */
  readonly transposed: Tensor;
  /** float32 [out] */
  readonly scales: Tensor;
}

/** A matrix float32 [rows, width] as `codes` (uint8, 128 is zero) times `scales` [rows, 1]. */
export interface IntegerRows {
  readonly codes: Tensor;
  readonly scales: Tensor;
}

export function integerRows(x: Tensor): IntegerRows {
  if (x.shape.length !== 2) throw shapeFault("rowCodes", "x is [rows, width]", [x]);
  const scales = node("rowScales", [x], [x.shape[0]!, 1], {});
  return { scales, codes: node("rowCodes", [x, scales], x.shape, {}, "uint8") };
}

/** Rows [rows, inner] times int8 [inner, columns], in whole numbers, and times a scale a column. */
export function integerMatmul(
  { codes, scales }: IntegerRows,
  weight: Tensor,
  columns?: Tensor,
): Tensor {
  const [rows, inner] = codes.shape as [number, number];
  const width = weight.shape[1]!;
  if (weight.dtype !== "int8" || weight.shape[0] !== inner)
    throw shapeFault("integerMatmul", "the weight is int8 [inner, columns]", [codes, weight]);
  const inputs = [codes, scales, weight, ...(columns ? [columns] : [])];
  return node("integerMatmul", inputs, [rows, width], {});
}

/**
 * x · Wᵀ for `x` [rows, in]. Its gradient with respect to x is that of the unrounded product, in whole
 * numbers again: W's scales go into the output's gradient before that is rounded.
 * @param rows x in whole numbers, where several products share it
 */
export function integerLinear(
  x: Tensor,
  { codes, transposed, scales }: IntegerWeight,
  rows: IntegerRows = integerRows(x),
): Tensor {
  return withGradient(integerMatmul(rows, transposed, scales), [x], (gradient) => [
    integerMatmul(integerRows(multiply(gradient, scales)), codes),
  ]);
}
