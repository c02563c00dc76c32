// A graph's gradients against finite differences of the graph itself, for tests of operators.

import { gradient, input, type Shape, sameShape, sizeOf, type Tensor } from "../../tensor/index.ts";
import type { Runtime, Value } from "../kernel.ts";
import { createRandom } from "../random.ts";
import { floats } from "../values.ts";
import { evaluateGraph, randomFloats } from "./evaluate.ts";

/** A function of tensors whose gradient is to be checked. */
export interface GradientCase {
  readonly name: string;
  /** Shapes of the inputs that are differentiated. */
  readonly shapes: readonly Shape[];
  /** Where inputs are drawn from. Default [-1, 1]. */
  readonly range?: readonly [number, number];
  readonly build: (...inputs: Tensor[]) => Tensor;
  /** Inputs of `build` beyond those of `shapes`, with their values. */
  readonly fixed?: readonly (readonly [Tensor, Value])[];
}

/** A case in one line. */
export const gradientCase = (
  name: string,
  shapes: readonly Shape[],
  build: GradientCase["build"],
  more: Partial<GradientCase> = {},
): GradientCase => ({ name, shapes, build, ...more });

const STEP = 0.03;
/** Weights of a five-point stencil for the first derivative, by the step they belong to. */
const STENCIL = [
  [-2, 1 / 12],
  [-1, -8 / 12],
  [1, 8 / 12],
  [2, -1 / 12],
] as const;
/** How far a right gradient may be from the difference, which rounding and the step make inexact. */
export const TOLERANCE = 1e-3;

const dot = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += a[i]! * b[i]!;
  return total;
};

/** How far the gradient along a random direction of each input is from the finite difference. */
export async function gradientErrors(
  runtime: Runtime,
  { name, shapes, range, build, fixed = [] }: GradientCase,
): Promise<number[]> {
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
    const { shape } = gradients[i]!;
    if (!sameShape(shape, tensor.shape)) throw new Error(`gradient ${i} is [${shape}]`);
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
