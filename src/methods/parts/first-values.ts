// First values that many methods use, as PyTorch's initialisers give them.

import { sizeOf } from "../../tensor/index.ts";
import type { ParameterSpec } from "../method.ts";

/** A tensor that starts as one number throughout. */
export function filled(key: string, shape: readonly number[], value: number): ParameterSpec {
  return { key, shape, initial: async () => new Float32Array(sizeOf(shape)).fill(value) };
}

/**
 * A matrix [rows, columns] that starts uniform within ±1 / √columns: `kaiming_uniform_` with a = √5,
 * PyTorch's default for linear layers (He et al. 2015).
 */
export function kaimingUniform(key: string, shape: readonly [number, number]): ParameterSpec {
  const bound = 1 / Math.sqrt(shape[1]);
  return {
    key,
    shape,
    async initial(random) {
      const stream = random.fork(key);
      return Float32Array.from({ length: sizeOf(shape) }, () => (2 * stream.uniform() - 1) * bound);
    },
  };
}
