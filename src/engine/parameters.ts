// The trained tensors of a model: created from a method's declarations, fed to kernels in place.

import type { ParameterSpec } from "../methods/index.ts";
import type { Value } from "../runtime/kernel.ts";
import { createRandom } from "../runtime/random.ts";
import { floats } from "../runtime/values.ts";
import { sizeOf } from "../tensor/index.ts";
import type { Parameter } from "./model.ts";

export interface ParameterSet {
  readonly all: readonly Parameter[];
  parameter(spec: ParameterSpec): Parameter;
  /** The parameter's data as a kernel input: the same memory, so updates are seen at once. */
  value(spec: ParameterSpec): Value;
}

/**
 * @param stored values read from an adapter or a checkpoint, by key; the rest start as declared
 */
export async function createParameters(
  specs: readonly ParameterSpec[],
  seed: number,
  base: (name: string) => Promise<Float32Array>,
  stored: ReadonlyMap<string, Float32Array> = new Map(),
): Promise<ParameterSet> {
  const random = createRandom(seed).fork("parameters");
  const entries = new Map<string, { parameter: Parameter; value: Value }>();
  for (const spec of specs) {
    if (entries.has(spec.key)) continue;
    const data = stored.get(spec.key) ?? (await spec.initial(random, base));
    const gradient = new Float32Array(sizeOf(spec.shape));
    const parameter: Parameter = { name: spec.key, shape: spec.shape, data, gradient };
    entries.set(spec.key, { parameter, value: floats(data, spec.shape) });
  }
  return {
    all: [...entries.values()].map((entry) => entry.parameter),
    parameter: (spec) => entries.get(spec.key)!.parameter,
    value: (spec) => entries.get(spec.key)!.value,
  };
}

/** target += values, element by element. */
export function addInto(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i]! += values[i]!;
}
