// Products in whole numbers against the same roundings done one number at a time.

import { afterAll, describe, expect, it } from "vitest";
import { createRuntime, type Value } from "../runtime/kernel.ts";
import { createRandom } from "../runtime/random.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { evaluateGraph, randomFloats } from "../runtime/testing/evaluate.ts";
import { floats, wholeNumbers } from "../runtime/values.ts";
import { gradient } from "./gradient.ts";
import { integerLinear, integerRows } from "./integer-linear.ts";
import { input } from "./operators.ts";
import type { Tensor } from "./tensor.ts";
import { topologicalOrder } from "./traverse.ts";

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const [ROWS, IN, OUT] = [5, 24, 7];
const random = createRandom(3);
const codes = Int8Array.from({ length: OUT * IN }, () => random.below(255) - 127);
const scales = randomFloats(random, OUT, [0.001, 0.01]);
const transposed = Int8Array.from(
  { length: IN * OUT },
  (_, i) => codes[(i % OUT) * IN + Math.floor(i / OUT)]!,
);
const x = input("x", [ROWS, IN]);
const seed = input("seed", [ROWS, OUT]);
const weight = {
  codes: input("codes", [OUT, IN], "int8"),
  transposed: input("transposed", [IN, OUT], "int8"),
  scales: input("scales", [OUT]),
};
const fixed = [
  [weight.codes, wholeNumbers(codes, [OUT, IN])],
  [weight.transposed, wholeNumbers(transposed, [IN, OUT])],
  [weight.scales, floats(scales, [OUT])],
] as const;

const halfToEven = (value: number): number => {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
};

/** Rows [rows, inner] rounded, times a matrix of whole numbers given by a function. */
function reference(
  rows: Float32Array,
  inner: number,
  columns: number,
  at: (k: number, column: number) => number,
  columnScale: (column: number) => number,
): Float32Array {
  const count = rows.length / inner;
  const result = new Float32Array(count * columns);
  for (let r = 0; r < count; r++) {
    const row = rows.subarray(r * inner, (r + 1) * inner);
    const largest = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = Math.fround(largest * Math.fround(1 / 127));
    for (let c = 0; c < columns; c++) {
      let total = 0;
      for (let k = 0; k < inner; k++)
        total += (scale === 0 ? 0 : halfToEven(Math.fround(row[k]! / scale))) * at(k, c);
      result[r * columns + c] = total * scale * columnScale(c);
    }
  }
  return result;
}

async function run(
  output: Tensor,
  data: Float32Array,
  seedData: Float32Array = new Float32Array(ROWS * OUT),
): Promise<Float32Array> {
  const values = new Map<Tensor, Value>([
    [x, floats(data, [ROWS, IN])],
    [seed, floats(seedData, [ROWS, OUT])],
    ...fixed,
  ]);
  return (await evaluateGraph(runtime, [output], values))[0]!;
}

describe("a product in whole numbers", () => {
  const data = randomFloats(createRandom(4), ROWS * IN, [-3, 3]);
  data.fill(0, IN, 2 * IN); // a row of zeros stays one

  it("is the rounded rows times the rounded weight", async () => {
    const expected = reference(
      data,
      IN,
      OUT,
      (k, c) => codes[c * IN + k]!,
      (c) => scales[c]!,
    );
    expect(arrayDifference(await run(integerLinear(x, weight), data), expected)).toBeLessThan(1e-6);
    expect([...expected.subarray(OUT, 2 * OUT)]).toEqual(Array(OUT).fill(0));
  });

  it("is exact where rows are whole numbers already", async () => {
    const whole = Float32Array.from(data, (_, i) => (i % IN === 0 ? 127 : ((i * 37) % 255) - 127));
    const y = await run(integerLinear(x, weight), whole);
    for (let r = 0; r < ROWS; r++)
      for (let c = 0; c < OUT; c++) {
        let total = 0;
        for (let k = 0; k < IN; k++) total += whole[r * IN + k]! * codes[c * IN + k]!;
        expect(Math.abs(y[r * OUT + c]! - total * scales[c]!)).toBeLessThan(1e-5 * Math.abs(total));
      }
  });

  it("has the gradient of the unrounded product, rounded in the same way", async () => {
    const seedData = randomFloats(createRandom(5), ROWS * OUT);
    const scaled = seedData.map((value, i) => Math.fround(value * scales[i % OUT]!));
    const expected = reference(
      scaled,
      OUT,
      IN,
      (k, c) => codes[k * IN + c]!,
      () => 1,
    );
    const [ofX] = gradient([[integerLinear(x, weight), seed]], [x]);
    expect(arrayDifference(await run(ofX!, data, seedData), expected)).toBeLessThan(1e-6);
  });

  it("shares its rounded rows with other products of the same input", () => {
    const rows = integerRows(x);
    const outputs = [integerLinear(x, weight, rows), integerLinear(x, weight, rows)];
    const made = topologicalOrder(outputs).filter(({ operator }) => operator === "rowCodes");
    expect(made).toHaveLength(1);
  });

  it.each([
    ["rows of a cube", () => integerRows(input("x", [2, 3, 4])), "[2, 3, 4]"],
    [
      "a weight of another width",
      () => integerLinear(input("x", [2, IN + 1]), weight),
      `[${IN}, ${OUT}]`,
    ],
    [
      "a weight in float32",
      () => integerLinear(x, { ...weight, transposed: input("w", [IN, OUT]) }),
      "int8",
    ],
  ])("refuses %s", (_, build, told) => expect(build).toThrow(told));
});
