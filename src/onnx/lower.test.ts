// What becomes a node of its own, what is fused, and that graphs with odd outputs still run.

import { afterAll, describe, expect, it } from "vitest";
import { createRuntime, type Value } from "../runtime/kernel.ts";
import { createRandom } from "../runtime/random.ts";
import { evaluateGraph, randomFloats } from "../runtime/testing/evaluate.ts";
import { floats } from "../runtime/values.ts";
import {
  add,
  constant,
  constantTensor,
  gatherRows,
  gradient,
  greaterOrEqual,
  input,
  inverse,
  linear,
  matmul,
  multiply,
  relu,
  reshape,
  rmsNorm,
  scatterRows,
  sizeOf,
  stopGradient,
  sum,
  type Tensor,
  tanh,
  toFloat,
  topMask,
  transpose,
  where,
  withGradient,
} from "../tensor/index.ts";
import { printAnySizes } from "./any-sizes.ts";
import { lower } from "./lower.ts";

const x = input("x", [2, 3]);
const w = input("w", [4, 3]);
const row = input("row", [4]);
const matrix = input("matrix", [2, 4]);

const typesOf = (outputs: readonly Tensor[], given: readonly Tensor[]): string[] =>
  lower(outputs, given).nodes.map(({ type }) => type);

describe("a sum with a product is one Gemm", () => {
  it.each([
    ["a row on the right", add(linear(x, w), row), [x, w, row]],
    ["a row on the left", add(row, linear(x, w)), [x, w, row]],
    ["a matrix", add(linear(x, w), matrix), [x, w, matrix]],
    ["through an alias", add(stopGradient(linear(x, w)), row), [x, w, row]],
  ])("%s", (_name, y, given) => {
    const [gemm, ...others] = lower([y], given).nodes;
    expect(others).toEqual([]);
    expect(gemm).toMatchObject({ type: "Gemm", inputs: ["in0", "in1", "in2"], outputs: ["out0"] });
  });

  it.each([
    ["the product is used twice", [add(linear(x, w), row), "again"] as const, [x, w, row]],
    ["the other side is wider", [add(linear(x, w), input("wide", [5, 2, 4]))] as const, undefined],
  ])("unless %s", (_name, [y, again], given) => {
    const product = y.inputs.find((side) => side.operator === "matmul")!;
    const outputs = again ? [y, tanh(product)] : [y];
    expect(typesOf(outputs, given ?? [x, w, y.inputs[1]!])).toContain("Add");
  });

  it("takes one of two products only", () => {
    const y = add(linear(x, w), linear(multiply(x, x), w));
    expect(typesOf([y], [x, w])).toEqual(["Mul", "Gemm", "Gemm"]);
  });

  it("leaves products of more axes to FusedMatMul and Add", () => {
    const batched = matmul(input("a", [2, 2, 3]), w, { transposeB: true });
    expect(typesOf([add(batched, row)], [batched.inputs[0]!, w, row])).toEqual([
      "FusedMatMul",
      "Add",
    ]);
  });
});

describe("a norm and the inverse root that its gradient needs", () => {
  const weight = input("weight", [3]);
  const seed = input("seed", [2, 3]);
  const norm = rmsNorm(x, weight, 1e-6);
  const [ofX] = gradient([[norm, seed]], [x]) as [Tensor];

  it("are one node where both are wanted", () => {
    const { nodes } = lower([norm, ofX], [x, weight, seed]);
    const norms = nodes.filter(({ type }) => type === "SimplifiedLayerNormalization");
    expect(norms).toHaveLength(1);
    expect(norms[0]!.outputs).toHaveLength(2);
  });

  it("are one node where only the inverse root is", () => {
    const types = typesOf([ofX], [x, weight, seed]);
    expect(types.filter((type) => type === "SimplifiedLayerNormalization")).toHaveLength(1);
  });

  it("are two where epsilon differs", () => {
    const other = rmsNorm(x, weight, 1e-3);
    const types = typesOf([norm, other, ofX], [x, weight, seed]);
    expect(types.filter((type) => type === "SimplifiedLayerNormalization")).toHaveLength(2);
  });
});

it("rows are summed by an operator that takes one at a time", () => {
  // A run cannot show it reliably: ScatterND loses rows only where its threads happen to meet.
  const at = input("at", [2], "int64");
  const types = typesOf([scatterRows(x, at, 4)], [x, at]);
  expect(types).toContain("ScatterElements");
  expect(types).not.toContain("ScatterND");
});

describe("names", () => {
  it("aliases of differentiation have no node", () => {
    const marked = withGradient(tanh(stopGradient(x)), [x], (d) => [d]);
    expect(typesOf([marked], [x])).toEqual(["Tanh"]);
  });

  it("equal constants are kept once", () => {
    const y = multiply(add(x, constant(2)), constant(2));
    expect(lower([y], [x]).constants.map(({ name }) => name)).toEqual(["scalar_2"]);
  });

  it("equal constant arrays are kept once, of other values or shape apart", () => {
    const of = (shape: number[], last = 3) => constantTensor(Float32Array.of(1, 2, last), shape);
    const keptOf = (a: Tensor, b: Tensor) =>
      lower([add(multiply(x, a), b)], [x]).constants.map(({ shape }) => shape);
    expect(keptOf(of([3]), of([3]))).toEqual([[3]]);
    expect(keptOf(of([3]), of([3], 4))).toEqual([[3], [3]]);
    expect(keptOf(of([3]), of([1, 3]))).toEqual([[3], [1, 3]]);
  });

  it("what is given is not entered", () => {
    const middle = tanh(x);
    expect(typesOf([tanh(middle)], [middle])).toEqual(["Tanh"]);
  });

  it("unused inputs stay, so that values are fed by position", () => {
    const { inputs } = lower([tanh(x)], [w, x, row]);
    expect(inputs.map(({ name, shape }) => [name, shape])).toEqual([
      ["in0", [4, 3]],
      ["in1", [2, 3]],
      ["in2", [4]],
    ]);
  });
});

describe("graphs that hold weights", () => {
  const graphOf = (rows: number, addend: readonly number[]) => {
    const [x, b] = [input("x", [rows, 3]), input("b", addend)];
    return [[reshape(add(linear(x, w), b), [rows, 2, 2])], [x, b], [w]] as const;
  };

  it("are fed the shapes that their nodes are told", () => {
    const { nodes, inputs, constants, sizes } = lower(...graphOf(5, [4]));
    expect(nodes.map(({ type }) => type)).toEqual(["Split", "Gemm", "Reshape"]);
    expect(inputs.map(({ name }) => name)).toEqual(["in0", "in1", "sizes"]);
    expect(inputs[0]!.shape).toEqual([undefined, undefined]);
    expect(constants.find(({ name }) => name === "held0")!.shape).toEqual([4, 3]);
    expect(sizes).toEqual([5, 2, 2]);
  });

  it("are the same at any sizes, unless their nodes would be others", () => {
    const text = (rows: number, addend: readonly number[]) =>
      printAnySizes(...graphOf(rows, addend));
    expect(text(7, [7, 4])).toBe(text(5, [5, 4]));
    expect(text(5, [1, 4])).not.toBe(text(5, [5, 4]));
    expect(text(5, [4])).not.toBe(text(5, [5, 4]));
  });
});

describe("ONNX Runtime runs", () => {
  const runtime = createRuntime({ threads: 1 });
  afterAll(() => runtime.dispose());
  const random = createRandom(3);
  const values = (...given: Tensor[]) =>
    new Map<Tensor, Value>(
      given.map((tensor) => [
        tensor,
        floats(randomFloats(random, sizeOf(tensor.shape)), tensor.shape),
      ]),
    );

  it("outputs that are inputs, that are the same, and that are aliases", async () => {
    const fed = values(x, w);
    const y = tanh(x);
    const [plain, again, alias, given] = await evaluateGraph(
      runtime,
      [y, y, stopGradient(y), x],
      fed,
    );
    expect(again).toEqual(plain);
    expect(alias).toEqual(plain);
    expect(given).toEqual(fed.get(x)!.data);
  });

  it("a constant as an output", async () => {
    expect(await evaluateGraph(runtime, [constant(2.5)], values(x))).toEqual([
      Float32Array.of(2.5),
    ]);
  });

  it("a fused sum whose product is transposed and scaled", async () => {
    const fed = values(x, w, matrix);
    const product = matmul(transpose(x, [1, 0]), transpose(w, [1, 0]), {
      transposeA: true,
      scale: 0.5,
    });
    const [fused, apart, addend] = await evaluateGraph(
      runtime,
      [add(product, matrix), multiply(linear(x, w), constant(0.5)), multiply(matrix, constant(1))],
      fed,
    );
    fused!.forEach((value, i) => {
      expect(value).toBeCloseTo(apart![i]! + addend![i]!, 6);
    });
  });

  it("a fused norm that gives what its parts give", async () => {
    const weight = input("weight", [3]);
    const norm = rmsNorm(x, weight, 1e-6);
    const seed = input("seed", [2, 3]);
    const [ofX, ofWeight] = gradient([[norm, seed]], [x, weight]) as [Tensor, Tensor];
    const fed = values(x, weight, seed);
    const [both, , alone] = await evaluateGraph(runtime, [norm, ofX, ofWeight], fed);
    expect((await evaluateGraph(runtime, [norm], fed))[0]).toEqual(both);
    expect((await evaluateGraph(runtime, [ofWeight], fed))[0]).toEqual(alone);
  });

  it("a sum down to a scalar", async () => {
    const fed = values(x);
    const [total] = await evaluateGraph(runtime, [sum(x, [0, 1])], fed);
    const expected = (fed.get(x)!.data as Float32Array).reduce((a, b) => a + b, 0);
    expect(total![0]).toBeCloseTo(expected, 5);
  });

  const fed = (tensor: Tensor, ...data: number[]): [Tensor, Value] => [
    tensor,
    floats(Float32Array.from(data), tensor.shape),
  ];

  it("a constant array, as an operand, as indices and as an output", async () => {
    const table = input("table", [3, 2]);
    const array = constantTensor(Float32Array.of(10, 20), [2]);
    const rows = gatherRows(table, constantTensor(BigInt64Array.of(2n, 0n), [2]));
    const [sums, itself] = await evaluateGraph(
      runtime,
      [add(rows, array), array],
      new Map([fed(table, 1, 2, 3, 4, 5, 6)]),
    );
    expect([...sums!]).toEqual([15, 26, 11, 22]);
    expect([...itself!]).toEqual([10, 20]);
  });

  it("kernels of their own for constant arrays of other values", async () => {
    const of = (value: number) => add(x, constantTensor(Float32Array.of(value, value, value), [3]));
    const zeros = new Map([fed(x, 0, 0, 0, 0, 0, 0)]);
    for (const value of [1, 2])
      expect((await evaluateGraph(runtime, [of(value)], zeros))[0]![0]).toBe(value);
  });

  it("the top of every row, lower indices first among equals", async () => {
    const scores = input("scores", [3, 4]);
    const data = fed(scores, 1, 3, 2, 0, 5, 5, 5, 5, -1, 0, 0, -2);
    const [two] = await evaluateGraph(runtime, [topMask(scores, 2)], new Map([data]));
    expect([...two!]).toEqual([0, 1, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0]);
  });

  it("conditions, which hold where the sides are equal", async () => {
    const holds = greaterOrEqual(x, constant(0));
    const data = fed(x, -1, 0, 1, 2, -2, -0.5);
    const [mask, chosen] = await evaluateGraph(
      runtime,
      [toFloat(holds), where(holds, x, constant(9))],
      new Map([data]),
    );
    expect([...mask!]).toEqual([0, 1, 1, 1, 0, 0]);
    expect([...chosen!]).toEqual([9, 0, 1, 2, 9, 9]);
  });

  it("relu, without a gradient at 0", async () => {
    const seed = input("seed", [2, 3]);
    const [slope] = gradient([[relu(x), seed]], [x]) as [Tensor];
    const data = new Map([fed(x, -1, 0, 1, 2, -2, 0), fed(seed, 1, 2, 3, 4, 5, 6)]);
    expect([...(await evaluateGraph(runtime, [slope], data))[0]!]).toEqual([0, 0, 3, 4, 0, 0]);
  });

  it("inverses of 64 by 64 matrices I + Q with Q skew", async () => {
    const size = 64;
    const q = randomFloats(random, size * size);
    const matrices = input("matrices", [1, size, size]);
    const data = Float32Array.from(q, (_, i) => {
      const [r, c] = [Math.floor(i / size), i % size];
      return r === c ? 1 : (q[i]! - q[c * size + r]!) / 2;
    });
    const [unit] = await evaluateGraph(
      runtime,
      [matmul(matrices, inverse(matrices))],
      new Map([[matrices, floats(data, matrices.shape)]]),
    );
    unit!.forEach((value, i) => {
      expect(Math.abs(value - (i % (size + 1) === 0 ? 1 : 0))).toBeLessThan(1e-4);
    });
  });
});
