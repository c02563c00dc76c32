// Products with a weight of 4 or 8 bits an element, in blocks with a scale each. Rows are rounded to
// whole numbers on the way in, so it exists for running a model and has no gradient.

import { node, shapeFault } from "./node.ts";
import type { OperatorAttributes, Tensor } from "./tensor.ts";

/** A weight [out, in], each row in blocks of consecutive elements: (code − zero) · scale. */
export interface BlockWeight {
  /** uint8 [out, blocks, bytes]: codes, the lower half of a byte first where they have 4 bits. */
  readonly codes: Tensor;
  /** [out · blocks] */
  readonly scales: Tensor;
  /** uint8: the code of 0 of every block, packed as codes are, row by row; half the range where absent. */
  readonly zeros?: Tensor;
}

/** x · Wᵀ for `x` [rows, in]: [rows, out]. */
export function blockLinear(
  x: Tensor,
  { codes, scales, zeros }: BlockWeight,
  attributes: OperatorAttributes["blockLinear"],
): Tensor {
  const [rows, inner] = x.shape as [number, number];
  const [output, blocks] = codes.shape as [number, number];
  const { blockSize } = attributes;
  if (x.shape.length !== 2 || blocks !== Math.ceil(inner / blockSize) || codes.dtype !== "uint8")
    throw shapeFault("blockLinear", "x is [rows, in], codes are uint8 [out, blocks, bytes]", [
      x,
      codes,
    ]);
  const inputs = [x, codes, scales, ...(zeros ? [zeros] : [])];
  return node("blockLinear", inputs, [rows, output], attributes);
}
