// Every operator's gradient against finite differences of the operator's own lowered graph.

import { afterAll, describe, expect, it } from "vitest";
import { createRuntime, type Value } from "../runtime/kernel.ts";
import { createRandom } from "../runtime/random.ts";
import { evaluateGraph, randomFloats } from "../runtime/testing/evaluate.ts";
import { floats, integers } from "../runtime/values.ts";
import { gradient } from "./gradient.ts";
import {
  add,
  broadcast,
  concat,
  constant,
  divide,
  erf,
  exp,
  input,
  inverseRms,
  log,
  matmul,
  maximum,
  meanLast,
  multiply,
  negate,
  reshape,
  rmsNorm,
  rotary,
  sigmoid,
  silu,
  slice,
  softmax,
  stopGradient,
  subtract,
  sum,
  sumTo,
  tanh,
  toFloat,
  transpose,
  withGradient,
} from "./operators.ts";
import type { OperatorName, Shape, Tensor } from "./tensor.ts";
import { sizeOf } from "./tensor.ts";

interface GradientCase {
  readonly name: string;
  /** Shapes of the inputs that are differentiated. */
  readonly shapes: readonly Shape[];
  /** Where inputs are drawn from. Default [-1, 1]. */
  readonly range?: readonly [number, number];
  readonly build: (...inputs: Tensor[]) => Tensor;
  /** Inputs of `build` beyond those of `shapes`, with their values. */
  readonly fixed?: readonly (readonly [Tensor, Value])[];
}

/** Why there is no gradient, and a graph whose differentiation says so. */
interface NotDifferentiable {
  readonly reason: RegExp;
  readonly build: (x: Tensor) => Tensor;
}

type Entry = readonly GradientCase[] | NotDifferentiable;

const one = (
  name: string,
  shapes: readonly Shape[],
  build: GradientCase["build"],
  more: Partial<GradientCase> = {},
): GradientCase => ({ name, shapes, build, ...more });

const AWAY_FROM_ZERO = { range: [0.5, 2] as const };

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
  add: [...binary(add), one("the same tensor twice", [[3]], (x) => add(x, x))],
  subtract: binary(subtract),
  multiply: [...binary(multiply), one("a square", [[3]], (x) => multiply(x, x))],
  divide: binary(divide),
  negate: unary(negate),
  exp: unary(exp),
  log: unary(log, AWAY_FROM_ZERO),
  sigmoid: unary(sigmoid),
  tanh: unary(tanh),
  erf: unary(erf),
  matmul: products,
  sum: [[0], [1], [0, 2], [0, 1, 2]].map((axes) =>
    one(`axes ${axes}`, [[2, 3, 4]], (x) => sum(x, axes)),
  ),
  maximum: { reason: /not unique/, build: (x) => maximum(x, [0]) },
  softmax: unary(softmax),
  rmsNorm: [
    one("x and weight", [[2, 3, 6], [6]], (x, w) => rmsNorm(x, w, 1e-5)),
    one("a large epsilon", [[4, 6], [6]], (x, w) => rmsNorm(x, w, 0.5)),
  ],
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
  ],
  toFloat: { reason: /whole numbers/, build: (x) => toFloat(x) },
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
  one("silu", [[2, 5]], silu),
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

const STEP = 0.03;
/** Weights of a five-point stencil for the first derivative, by the step they belong to. */
const STENCIL = [
  [-2, 1 / 12],
  [-1, -8 / 12],
  [1, 8 / 12],
  [2, -1 / 12],
] as const;
const TOLERANCE = 1e-3;

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i]! * b[i]!;
  return total;
};

/** How far the gradient along a random direction of each input is from the finite difference. */
async function gradientErrors({ name, shapes, range, build, fixed = [] }: GradientCase) {
  const random = createRandom(1).fork(name);
  const inputs = shapes.map((shape, i) => input(`x${i}`, shape));
  const data = inputs.map(({ shape }) => randomFloats(random, sizeOf(shape), range));
  const output = build(...inputs);
  const seed = input("seed", output.shape);
  const seedData = randomFloats(random, sizeOf(output.shape));
  const values = new Map<Tensor, Value>([
    ...inputs.map((tensor, i) => [tensor, floats(data[i]!, tensor.shape)] as const),
    ...fixed,
  ]);
  const gradients = gradient([[output, seed]], inputs) as Tensor[];
  const withSeed = new Map([...values, [seed, floats(seedData, seed.shape)]]);
  const computed = await evaluateGraph(runtime, gradients, withSeed);

  const errors: number[] = [];
  for (const [i, tensor] of inputs.entries()) {
    expect(gradients[i]!.shape).toEqual(tensor.shape);
    const direction = randomFloats(random, data[i]!.length);
    let difference = 0;
    for (const [steps, weight] of STENCIL) {
      const moved = data[i]!.map((value, j) => value + steps * STEP * direction[j]!);
      const at = new Map(values).set(tensor, floats(moved, tensor.shape));
      const [result] = await evaluateGraph(runtime, [output], at);
      difference += (weight * dot(result!, seedData)) / STEP;
    }
    const along = dot(computed[i]!, direction);
    errors.push(Math.abs(along - difference) / Math.max(1, Math.abs(difference)));
  }
  return errors;
}

const differentiable = Object.entries(CASES as Record<string, Entry>).flatMap(
  ([operator, entry]) =>
    "reason" in entry ? [] : entry.map((one) => ({ ...one, name: `${operator}: ${one.name}` })),
);

describe("gradients equal finite differences", () => {
  it.each([...differentiable, ...COMPOSED])("$name", async (one) => {
    const errors = await gradientErrors(one);
    expect(errors).toHaveLength(one.shapes.length);
    for (const error of errors) expect(error).toBeLessThan(TOLERANCE);
  });

  it("and a wrong rule is noticed", async () => {
    const wrong = one("wrong", [[2, 3]], (x) =>
      withGradient(multiply(x, x), [x], (d) => [multiply(d, x)]),
    );
    expect((await gradientErrors(wrong))[0]).toBeGreaterThan(TOLERANCE);
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
