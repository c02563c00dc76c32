// Products with a weight of 4 or 8 bits an element, in blocks with a scale each. Rows are rounded to
// whole numbers on the way in, so it exists for running a model and has no gradient.

import { node, shapeFault } from "./node.ts";
import { add, broadcast, concat, constant, linear, reshape, sum, transpose } from "./operators.ts";
import { gatherRows } from "./selection.ts";
import type { OperatorAttributes, Tensor } from "./tensor.ts";

/**
 * A weight [out, in], each row in blocks of consecutive elements: (code − zero point) · scale, and what is
 * added to all of a block.
 */
export interface BlockWeight {
  /** uint8 [out, blocks, bytes]: codes, the lower half of a byte first where they have 4 bits. */
  readonly codes: Tensor;
  /** [out · blocks] */
  readonly scales: Tensor;
  /** uint8 [out, blocks / 2], two of 4 bits a byte, the lower half first; half the range where absent. */
  readonly zeros?: Tensor;
  /** [out, blocks]; 0 where absent. */
  readonly offsets?: Tensor;
  /** int64 [in]: the element of x that each column is multiplied with; its own where absent. */
  readonly order?: Tensor;
}

/**
 * x · Wᵀ for `x` [rows, in]: [rows, out].
 * @param sums `blockSums` of x, where several products share them
 */
export function blockLinear(
  x: Tensor,
  { codes, scales, zeros, offsets, order }: BlockWeight,
  attributes: OperatorAttributes["blockLinear"],
  sums?: Tensor,
): Tensor {
  const [rows, inner] = x.shape as [number, number];
  const [output, blocks] = codes.shape as [number, number];
  const { blockSize } = attributes;
  if (x.shape.length !== 2 || blocks !== Math.ceil(inner / blockSize) || codes.dtype !== "uint8")
    throw shapeFault("blockLinear", "x is [rows, in], codes are uint8 [out, blocks, bytes]", [
      x,
      codes,
    ]);
  const ordered = order ? transpose(gatherRows(transpose(x, [1, 0]), order), [1, 0]) : x;
  const inputs = [ordered, codes, scales, ...(zeros ? [zeros] : [])];
  const product = node("blockLinear", inputs, [rows, output], attributes);
  return offsets ? add(product, linear(sums ?? blockSums(ordered, blockSize), offsets)) : product;
}

/** What an offset is multiplied with: the sum of each block of a row, [rows, blocks]. */
export function blockSums(x: Tensor, blockSize: number): Tensor {
  const [rows, inner] = x.shape as [number, number];
  const blocks = Math.ceil(inner / blockSize);
  const rest = blocks * blockSize - inner;
  const whole = rest === 0 ? x : concat([x, broadcast(constant(0), [rows, rest])], 1);
  return reshape(sum(reshape(whole, [rows, blocks, blockSize]), [2]), [rows, blocks]);
}
