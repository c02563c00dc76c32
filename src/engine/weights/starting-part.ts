// Adapters that start as a part of the base: that part, computed and taken out of the frozen weights.
// It follows from the weights and the seed alone, so a resumed run finds the same base again.

import type { BoundMethod } from "../../methods/index.ts";
import type { FirstValue } from "../parameters.ts";
import type { WeightStore } from "./weights.ts";

/**
 * Takes out of the weights what the method's parameters start with.
 * @returns the first values of those parameters, by key
 */
export async function takeStartingPart(
  method: BoundMethod,
  weights: WeightStore,
  first: FirstValue,
): Promise<Map<string, Float32Array>> {
  const initial = new Map<string, Float32Array>();
  for (const [name, specs] of method.takenFromBase ?? []) {
    for (const spec of specs) initial.set(spec.key, await first(spec));
    const data = weights.copy(name);
    const part = new Float32Array(data.length);
    method.addTakenPart?.(name, part, ({ key }) => initial.get(key)!);
    weights.replace(
      name,
      data.map((value, i) => value - part[i]!),
    );
  }
  return initial;
}
