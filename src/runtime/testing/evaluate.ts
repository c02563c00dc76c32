// Computes small graphs for tests: values in, values out.

import type { Tensor } from "../../tensor/index.ts";
import type { Runtime, Value } from "../kernel.ts";
import type { Random } from "../random.ts";
import { floatData } from "../values.ts";

/** The outputs' data, each from a fresh array. */
export async function evaluateGraph(
  runtime: Runtime,
  outputs: readonly Tensor[],
  values: ReadonlyMap<Tensor, Value>,
): Promise<Float32Array[]> {
  const kernel = await runtime.compile(outputs, [...values.keys()]);
  return (await kernel.run([...values.values()])).map(floatData);
}

/** Uniform draws between two bounds. */
export function randomFloats(
  random: Random,
  length: number,
  [low, high]: readonly [number, number] = [-1, 1],
): Float32Array {
  return Float32Array.from({ length }, () => low + (high - low) * random.uniform());
}
