// Adapters that start as a part of the base: that part, computed and taken out of the frozen weights.
// It follows from the weights and the seed alone, so a resumed run finds the same base again.

import type { BoundMethod } from "../methods/index.ts";
import { createRandom } from "../runtime/random.ts";
import type { WeightStore } from "./weights.ts";

/**
 * Takes out of the weights what the method's parameters start with.
 * @returns the first values of those parameters, by key
 */
export async function takeStartingPart(
  method: BoundMethod,
  weights: WeightStore,
  seed: number,
): Promise<Map<string, Float32Array>> {
  const random = createRandom(seed).fork("parameters");
  const initial = new Map<string, Float32Array>();
  for (const [name, specs] of method.takenFromBase ?? []) {
    for (const spec of specs)
      initial.set(spec.key, await spec.initial(random, async (weight) => weights.copy(weight)));
    const data = weights.copy(name);
    const part = new Float32Array(data.length);
    method.mergeInto?.(name, part, ({ key }) => initial.get(key)!);
    weights.replace(
      name,
      data.map((value, i) => value - part[i]!),
    );
  }
  return initial;
}
