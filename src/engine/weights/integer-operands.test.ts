import { expect, it } from "vitest";
import type { Int8Tensor } from "../../hub/index.ts";
import { quantize } from "../../hub/index.ts";
import { createRandom } from "../../runtime/random.ts";
import { randomFloats } from "../../runtime/testing/evaluate.ts";
import { integerOperands } from "./integer-operands.ts";

it("are the codes in both orders, whatever their number, and what a code is worth", () => {
  const shape = [130, 67]; // neither is a multiple of a tile
  const weight = randomFloats(createRandom(1), 130 * 67);
  const tensor = quantize(weight, shape, { type: "int8" }) as Int8Tensor;
  const { codes, transposed, scales } = integerOperands(tensor);
  expect([codes.dims, transposed.dims, scales.dims]).toEqual([[130, 67], [67, 130], [130]]);
  for (let row = 0; row < 130; row++)
    for (let column = 0; column < 67; column++) {
      const code = codes.data[row * 67 + column] as number;
      expect(transposed.data[column * 130 + row]).toBe(code);
      const scale = scales.data[row] as number;
      // Half a step from rounding, a little from the float16 that comes first.
      expect(Math.abs(code * scale - weight[row * 67 + column]!)).toBeLessThan(0.6 * scale);
    }
});
