// Every operator's gradient against finite differences of the operator's own lowered graph.

import { afterAll, describe, expect, it } from "vitest";
import { createRuntime } from "../runtime/kernel.ts";
import {
  type GradientCase,
  gradientErrors,
  gradientCase as one,
  TOLERANCE,
} from "../runtime/testing/finite-differences.ts";
import { floats, integers } from "../runtime/values.ts";
import { gelu, geluTanh } from "./activations.ts";
import { blockLinear } from "./block-linear.ts";
import { cachedAttention } from "./cached-attention.ts";
import { gradient } from "./gradient.ts";
import { integerLinear, integerRows } from "./integer-linear.ts";
import {
  abs,
  add,
  broadcast,
  concat,
  constant,
  cos,
  divide,
  erf,
  exp,
  input,
  inverse,
  inverseRms,
  log,
  matmul,
  maximum,
  meanLast,
  multiply,
  negate,
  relu,
  reshape,
  rmsNorm,
  rotary,
  sigmoid,
  sign,
  silu,
  sin,
  slice,
  softmax,
  sqrt,
  stopGradient,
  subtract,
  sum,
  sumTo,
  tanh,
  toFloat,
  transpose,
  withGradient,
} from "./operators.ts";
import {
  constantTensor,
  gatherRows,
  greaterOrEqual,
  scatterRows,
  topMask,
  where,
} from "./selection.ts";
import type { OperatorName, Tensor } from "./tensor.ts";

/** Why there is no gradient, and a graph whose differentiation says so. */
interface NotDifferentiable {
  readonly reason: RegExp;
  readonly build: (x: Tensor) => Tensor;
}

/** Constant almost everywhere: a graph through which no gradient passes. */
interface Flat {
  readonly without: (x: Tensor) => Tensor;
}

type Entry = readonly GradientCase[] | NotDifferentiable | Flat;

const AWAY_FROM_ZERO = { range: [0.5, 2] as const };
const BELOW_ZERO = { range: [-2, -0.5] as const };

const integerWeight = (inner: number) => ({
  codes: input("codes", [3, inner], "int8"),
  transposed: input("transposed", [inner, 3], "int8"),
  scales: input("scales", [3]),
});

const identity = (size: number, scale: number): Float32Array =>
  Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? scale : 0));

/** A binary operator on all the ways in which two shapes broadcast. */
const binary = (build: GradientCase["build"]): GradientCase[] =>
  (
    [
      ["equal shapes", [3, 4], [3, 4]],
      ["right widens", [3, 4], [4]],
      ["left widens", [1, 4], [2, 3, 4]],
      ["both widen", [3, 1], [1, 4]],
      ["a scalar on the right", [2, 3], []],
      ["a scalar on the left", [], [2, 3]],
    ] as const
  ).map(([name, a, b]) => one(name, [a, b], build, AWAY_FROM_ZERO));

const unary = (build: GradientCase["build"], more: Partial<GradientCase> = {}) => [
  one("elements", [[2, 5]], build, more),
];

const flags = [false, true].flatMap((transposeA) =>
  [false, true].map((transposeB) => ({ transposeA, transposeB })),
);
const swapIf = (condition: boolean, [m, k]: [number, number]): number[] =>
  condition ? [k, m] : [m, k];

const products: GradientCase[] = flags.flatMap(({ transposeA, transposeB }) => {
  const a = swapIf(transposeA, [3, 4]);
  const b = swapIf(transposeB, [4, 5]);
  const name = `${transposeA ? "Aᵀ" : "A"}${transposeB ? "Bᵀ" : "B"}`;
  const build = (x: Tensor, y: Tensor) => matmul(x, y, { transposeA, transposeB, scale: 0.7 });
  return [
    one(`${name}, matrices`, [a, b], build),
    one(
      `${name}, batched`,
      [
        [2, ...a],
        [2, ...b],
      ],
      build,
    ),
    one(
      `${name}, batched on two axes`,
      [
        [2, 3, ...a],
        [2, 3, ...b],
      ],
      build,
    ),
    // A batched left operand that is transposed has no shared right one, see the shape faults.
    ...(transposeA ? [] : [one(`${name}, shared right operand`, [[2, ...a], b], build)]),
  ];
});

const broadcastProducts: GradientCase[] = flags.flatMap(({ transposeA, transposeB }) => {
  const a = swapIf(transposeA, [3, 4]);
  const b = swapIf(transposeB, [4, 5]);
  const name = `${transposeA ? "Aᵀ" : "A"}${transposeB ? "Bᵀ" : "B"}`;
  const build = (x: Tensor, y: Tensor) => matmul(x, y, { transposeA, transposeB, scale: 0.7 });
  return (
    [
      ["left widens", [1, ...a], [2, ...b]],
      ["right widens", [2, ...a], [1, ...b]],
      ["both widen", [2, 1, ...a], [1, 3, ...b]],
      ["shared left operand", a, [2, ...b]],
      ["right has fewer axes", [2, 3, ...a], [3, ...b]],
    ] as const
  ).map(([how, left, right]) => one(`${name}, ${how}`, [left, right], build));
});

const rowIndices = input("rowIndices", [2, 3], "int64");
const rowIndicesFixed = [
  // Some rows twice or more, some never.
  [rowIndices, integers(BigInt64Array.of(0n, 3n, 3n, 1n, 3n, 0n), [2, 3])],
] as const;
const coin = constantTensor(Float32Array.of(1, -1, -1, 1, 1, -1), [2, 3]);
const heads = greaterOrEqual(coin, constant(0));

/** One row of two positions with one head of 3 elements. */
function attended(x: Tensor): ReturnType<typeof cachedAttention> {
  const states = reshape(x, [1, 2, 3]);
  const kept = input("kept", [1, 1, 4, 3]);
  return cachedAttention(
    {
      queries: states,
      keys: states,
      values: states,
      keptKeys: kept,
      keptValues: kept,
      lastPositions: input("last", [1], "int32"),
      total: input("total", [1], "int32"),
    },
    { heads: 1, keyValueHeads: 1, scale: 1 },
  );
}

const positions = input("positions", [2, 3], "int64");
const cosines = input("cosines", [5, 2]);
const sines = input("sines", [5, 2]);
const angle = (index: number) => 0.3 + index;
const rotaryFixed = [
  [positions, integers(BigInt64Array.of(0n, 1n, 2n, 4n, 0n, 3n), [2, 3])],
  [
    cosines,
    floats(
      Float32Array.from({ length: 10 }, (_, i) => Math.cos(angle(i))),
      [5, 2],
    ),
  ],
  [
    sines,
    floats(
      Float32Array.from({ length: 10 }, (_, i) => Math.sin(angle(i))),
      [5, 2],
    ),
  ],
] as const;

const CASES = {
  input: [one("itself", [[2, 3]], (x) => x)],
  constant: [one("as a factor", [[2, 3]], (x) => multiply(x, constant(-1.5)))],
  constantTensor: [one("as a factor", [[2, 3]], (x) => multiply(x, coin))],
  add: [...binary(add), one("the same tensor twice", [[3]], (x) => add(x, x))],
  subtract: binary(subtract),
  multiply: [...binary(multiply), one("a square", [[3]], (x) => multiply(x, x))],
  divide: binary(divide),
  negate: unary(negate),
  exp: unary(exp),
  log: unary(log, AWAY_FROM_ZERO),
  sqrt: unary(sqrt, AWAY_FROM_ZERO),
  sin: unary(sin),
  cos: unary(cos),
  abs: [...unary(abs, AWAY_FROM_ZERO), ...unary(abs, BELOW_ZERO)],
  sign: { without: sign },
  sigmoid: unary(sigmoid),
  silu: unary(silu),
  tanh: unary(tanh),
  erf: unary(erf),
  relu: [...unary(relu, AWAY_FROM_ZERO), ...unary(relu, BELOW_ZERO)],
  matmul: [...products, ...broadcastProducts],
  inverse: [
    // Diagonally dominant, as what is inverted here is.
    one("two matrices", [[2, 4, 4]], (x) =>
      inverse(add(x, constantTensor(identity(4, 5), [1, 4, 4]))),
    ),
  ],
  sum: [[0], [1], [0, 2], [0, 1, 2]].map((axes) =>
    one(`axes ${axes}`, [[2, 3, 4]], (x) => sum(x, axes)),
  ),
  maximum: { reason: /not unique/, build: (x) => maximum(x, [0]) },
  softmax: unary(softmax),
  rmsNorm: [
    one("x and weight", [[2, 3, 6], [6]], (x, w) => rmsNorm(x, w, 1e-5)),
    one("a large epsilon", [[4, 6], [6]], (x, w) => rmsNorm(x, w, 0.5)),
  ],
  rowScales: { reason: /rounding/, build: (x) => integerRows(x).scales },
  rowCodes: { reason: /rounding/, build: (x) => integerRows(x).codes },
  integerMatmul: {
    reason: /rounding/,
    // Without the gradient written by hand that integerLinear gives it.
    build: (x) => integerLinear(x, integerWeight(x.shape[1]!)).inputs[0]!,
  },
  blockLinear: {
    reason: /running a model/,
    build: (x) => {
      const codes = input("codes", [4, 1, 16], "uint8");
      return blockLinear(x, { codes, scales: input("s", [4]) }, { bits: 4, blockSize: 32 });
    },
  },
  cachedAttention: { reason: /generation/, build: (x) => attended(x).output },
  cachedKeys: { reason: /generation/, build: (x) => attended(x).keys },
  cachedValues: { reason: /generation/, build: (x) => attended(x).values },
  inverseRms: {
    reason: /gradient of rmsNorm only/,
    build: (x) => inverseRms(x, input("w", [3]), 1e-5),
  },
  reshape: [one("other axes", [[2, 6]], (x) => reshape(x, [3, 2, 2]))],
  transpose: [
    one("two axes", [[2, 3]], (x) => transpose(x, [1, 0])),
    one("a cycle of axes", [[2, 3, 4]], (x) => transpose(x, [2, 0, 1])),
  ],
  slice: [
    [0, 2],
    [1, 3],
    [3, 5],
  ].map(([start, end]) => one(`${start}..${end} of 5`, [[2, 5]], (x) => slice(x, 1, start!, end!))),
  concat: [
    one(
      "three parts",
      [
        [2, 1],
        [2, 3],
        [2, 2],
      ],
      (...parts) => concat(parts, 1),
    ),
    one("one part twice", [[2, 2]], (x) => concat([x, multiply(x, x)], 0)),
  ],
  broadcast: [
    one("new axes", [[3]], (x) => broadcast(x, [2, 4, 3])),
    one("axes of length 1", [[2, 1]], (x) => broadcast(x, [2, 5])),
  ],
  rotary: [
    one("two heads", [[2, 3, 8]], (x) => rotary(x, positions, cosines, sines, 2), {
      fixed: rotaryFixed,
    }),
    one("a part of each head", [[2, 3, 12]], (x) => rotary(x, positions, cosines, sines, 2), {
      fixed: rotaryFixed,
    }),
    one("neighbours", [[2, 3, 12]], (x) => rotary(x, positions, cosines, sines, 2, true), {
      fixed: rotaryFixed,
    }),
  ],
  gatherRows: [
    one("rows taken more than once", [[4, 2]], (table) => gatherRows(table, rowIndices), {
      fixed: rowIndicesFixed,
    }),
  ],
  scatterRows: [
    one("rows that meet", [[2, 3, 2]], (rows) => scatterRows(rows, rowIndices, 5), {
      fixed: rowIndicesFixed,
    }),
  ],
  greaterOrEqual: { without: (x) => greaterOrEqual(x, constant(0)) },
  where: [
    one("of one shape", Array(2).fill([2, 3]), (a, b) => where(heads, a, b)),
    one("all widen", [[4, 1, 1], []], (a, b) => where(heads, a, b)),
  ],
  topMask: { without: (x) => topMask(x, 2) },
  toFloat: { without: (x) => toFloat(greaterOrEqual(x, constant(0))) },
  stopGradient: [
    one("beside a path that is followed", [[2, 3]], (x) =>
      // Its own part is a difference of equal things, so finite differences see what gradients see.
      add(multiply(x, x), subtract(stopGradient(x), stopGradient(x))),
    ),
  ],
  withGradient: [
    one(
      "a rule for both inputs",
      [
        [2, 3],
        [2, 3],
      ],
      (a, b) => withGradient(multiply(a, b), [a, b], (d) => [multiply(d, b), multiply(d, a)]),
    ),
  ],
} satisfies Record<OperatorName, Entry>;

const COMPOSED: GradientCase[] = [
  one("gelu", [[2, 5]], gelu),
  one("geluTanh", [[2, 5]], geluTanh),
  one("meanLast", [[2, 5]], meanLast),
  one("sumTo a row", [[3, 4]], (x) => sumTo(x, [4])),
  one("sumTo a scalar", [[3, 4]], (x) => sumTo(x, [])),
  one(
    "a chain with several paths",
    [
      [3, 4],
      [4, 4],
    ],
    (x, w) => {
      const h = tanh(matmul(x, w));
      return add(multiply(h, sigmoid(x)), softmax(matmul(h, w, { transposeB: true })));
    },
  ),
];

const runtime = createRuntime({ threads: 1 });
afterAll(() => runtime.dispose());

const differentiable = Object.entries(CASES as Record<string, Entry>).flatMap(
  ([operator, entry]) =>
    !Array.isArray(entry)
      ? []
      : (entry as GradientCase[]).map((one) => ({ ...one, name: `${operator}: ${one.name}` })),
);

describe("gradients equal finite differences", () => {
  it.each([...differentiable, ...COMPOSED])("$name", async (one) => {
    const errors = await gradientErrors(runtime, one);
    expect(errors).toHaveLength(one.shapes.length);
    for (const error of errors) expect(error).toBeLessThan(TOLERANCE);
  });

  it("and a wrong rule is noticed", async () => {
    const wrong = one("wrong", [[2, 3]], (x) =>
      withGradient(multiply(x, x), [x], (d) => [multiply(d, x)]),
    );
    expect((await gradientErrors(runtime, wrong))[0]).toBeGreaterThan(TOLERANCE);
  });
});

it.each(
  Object.entries(CASES as Record<string, Entry>).flatMap(([operator, entry]) =>
    "reason" in entry ? [{ operator, ...entry }] : [],
  ),
)("$operator says why it has no gradient", ({ build, reason }) => {
  const x = input("x", [2, 3]);
  const y = build(x);
  expect(() => gradient([[y, constant(1)]], [x])).toThrow(reason);
});

it.each(
  Object.entries(CASES as Record<string, Entry>).flatMap(([operator, entry]) =>
    "without" in entry ? [{ operator, ...entry }] : [],
  ),
)("$operator passes no gradient", ({ without }) => {
  const x = input("x", [2, 3]);
  const y = without(x);
  expect(gradient([[y, input("seed", y.shape)]], [x])).toEqual([undefined]);
});

describe("gradient", () => {
  it("is undefined where nothing depends on an input", () => {
    const [x, other] = [input("x", [2]), input("other", [2])];
    expect(gradient([[exp(x), constant(1)]], [other])).toEqual([undefined]);
  });

  it("stops at stopGradient", () => {
    const x = input("x", [2]);
    expect(gradient([[stopGradient(x), constant(1)]], [x])).toEqual([undefined]);
  });

  it("builds nothing for inputs that are not wanted", () => {
    const [x, w] = [input("x", [2, 3]), input("w", [4, 3])];
    const seed = input("seed", [2, 4]);
    const [ofX] = gradient([[matmul(x, w, { transposeB: true }), seed]], [x]);
    expect(ofX!.inputs).toEqual([seed, w]);
  });
});
