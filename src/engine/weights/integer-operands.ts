// A weight as products in whole numbers read it: its int8 codes in both orders, since ONNX Runtime
// multiplies integers in one order only, and the scale of each row.

import type { Int8Tensor } from "../../hub/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { floats, wholeNumbers } from "../../runtime/values.ts";
import type { IntegerWeight } from "../../tensor/index.ts";

export const ARITHMETICS = ["float32", "int8"] as const;
/** How products with frozen linear weights are computed. */
export type Arithmetic = (typeof ARITHMETICS)[number];

/** See `IntegerWeight`. */
export type IntegerOperands = { readonly [Part in keyof IntegerWeight]: Value };

const TILE = 64;

/** What products with a matrix's columns alone read. */
export type RowOperands = Pick<IntegerOperands, "codes" | "scales">;

/** `codes` is the tensor's own memory. */
export const rowOperands = ({ values, scales, shape }: Int8Tensor): RowOperands => ({
  codes: wholeNumbers(values, shape),
  scales: floats(
    scales.map((largest) => largest / 127),
    [shape[0]!],
  ),
});

/** The same with the codes in the other order besides. */
export function integerOperands(tensor: Int8Tensor): IntegerOperands {
  const { values, shape } = tensor;
  const [rows, columns] = shape as [number, number];
  const transposed = new Int8Array(values.length);
  // In tiles, so that neither side's lines leave the cache before they are used up.
  for (let top = 0; top < rows; top += TILE)
    for (let left = 0; left < columns; left += TILE) {
      const bottom = Math.min(top + TILE, rows);
      const right = Math.min(left + TILE, columns);
      for (let row = top; row < bottom; row++)
        for (let column = left; column < right; column++)
          transposed[column * rows + row] = values[row * columns + column]!;
    }
  return { ...rowOperands(tensor), transposed: wholeNumbers(transposed, [columns, rows]) };
}
