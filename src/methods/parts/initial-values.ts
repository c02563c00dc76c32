// Parameters by how they start: the distributions that the reference libraries draw from.

import { sizeOf } from "../../tensor/index.ts";
import type { ParameterSpec } from "../method.ts";

type Shape = readonly number[];

const drawn = (
  key: string,
  shape: Shape,
  next: (stream: { normal(): number; uniform(): number }) => number,
): ParameterSpec => ({
  key,
  shape,
  initial: async (random) => {
    const stream = random.fork(key);
    return Float32Array.from({ length: sizeOf(shape) }, () => next(stream));
  },
});

/** A tensor that starts from the normal distribution; with deviation 1 as PyTorch's embeddings do. */
export const normalSpec = (key: string, shape: Shape, deviation = 1): ParameterSpec =>
  drawn(key, shape, ({ normal }) => deviation * normal());

/** The same, drawn again where it lies beyond two deviations. */
export const truncatedSpec = (key: string, shape: Shape, deviation: number): ParameterSpec =>
  drawn(key, shape, ({ normal }) => {
    for (;;) {
      const value = normal();
      if (Math.abs(value) <= 2) return deviation * value;
    }
  });

/** A tensor that starts uniform in ±1 / √`inputs`, as those of PyTorch's linear layers do. */
export const uniformSpec = (key: string, shape: Shape, inputs: number): ParameterSpec =>
  drawn(key, shape, ({ uniform }) => (2 * uniform() - 1) / Math.sqrt(inputs));

/**
 * A matrix [rows, columns] that starts as the weight of PyTorch's linear layers: `kaiming_uniform_` with
 * a = √5 (He et al. 2015), which is uniform in ±1 / √columns.
 */
export const kaimingUniform = (key: string, shape: readonly [number, number]): ParameterSpec =>
  uniformSpec(key, shape, shape[1]);

/** A tensor that starts with one value everywhere. */
export const filledSpec = (key: string, shape: Shape, value: number): ParameterSpec => ({
  key,
  shape,
  initial: async () => new Float32Array(sizeOf(shape)).fill(value),
});

export const zeroSpec = (key: string, shape: Shape): ParameterSpec => filledSpec(key, shape, 0);
