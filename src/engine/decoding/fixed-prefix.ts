// Prefixes of attention that depend on parameters alone. While a text is continued they never change,
// so each layer's is computed once, and what made it (an encoder may be larger than the layer's own
// keys and values by far) stays out of the kernels that run for every token.

import type { PrefixStates } from "../../methods/index.ts";
import type { Runtime, Value } from "../../runtime/kernel.ts";
import { input, type Tensor, topologicalOrder } from "../../tensor/index.ts";
import type { Binding } from "../trace.ts";

/** A prefix as inputs of a graph, and what to feed to them. */
export interface FixedPrefix extends PrefixStates {
  /** Of keys, then of values. */
  readonly computed: Promise<readonly Value[]>;
}

/**
 * @param bindings what the graph's inputs stand for
 * @returns undefined where the prefix depends on the text as well
 */
export type FixPrefix = (
  layer: number,
  prefix: PrefixStates,
  bindings: ReadonlyMap<Tensor, Binding>,
) => FixedPrefix | undefined;

export function createFixedPrefixes(
  runtime: Runtime,
  bind: (binding: Binding, slot: number) => Value,
): FixPrefix {
  const layers = new Map<number, Promise<Value[]>>();
  return (layer, { keys, values }, bindings) => {
    const given = topologicalOrder([keys, values], new Set()).filter(
      ({ operator }) => operator === "input",
    );
    const sources = given.flatMap((tensor) => {
      const binding = bindings.get(tensor);
      return binding?.kind === "parameter" || binding?.kind === "weight" ? [binding] : [];
    });
    if (sources.length < given.length) return undefined;
    let computed = layers.get(layer);
    if (!computed) {
      computed = runtime
        .compile([keys, values], given)
        .then((kernel) => kernel.run(sources.map((source, slot) => bind(source, slot))));
      layers.set(layer, computed);
    }
    return {
      keys: input("prefix keys", keys.shape),
      values: input("prefix values", values.shape),
      computed,
    };
  };
}
