// What a method puts in front of a layer's keys and values. While a text is continued it never changes,
// so it is computed once, and what made it (an encoder may be larger than the keys and values by far)
// stays out of the kernels that run for every token.

import type { PrefixStates } from "../../methods/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { input, topologicalOrder } from "../../tensor/index.ts";
import { type Binding, createTracer } from "../trace.ts";
import type { DecodableModel } from "./decoder-contract.ts";
import type { KeysAndValues } from "./key-value-cache.ts";

/** Keys and values in front of each layer that has some. Prefixes depend on no text. */
export async function computePrefixes(
  model: DecodableModel,
  bind: (binding: Binding, slot: number) => Value,
): Promise<ReadonlyMap<number, KeysAndValues>> {
  const { architecture, method, runtime } = model;
  const { layers, hiddenSize } = architecture.dimensions;
  const prefixes = new Map<number, KeysAndValues>();
  if (!method?.prefix) return prefixes;
  const shape = { batch: 1, sequence: 1, maskBatch: 1, training: false };
  for (let layer = 0; layer < layers; layer++) {
    let found: PrefixStates | undefined;
    const tracer = createTracer(model, shape, ({ queries }, _, prefix) => {
      found = prefix;
      return queries;
    });
    architecture.attention(layer, input("x", [1, hiddenSize]), tracer.scope);
    if (!found) continue;
    const outputs = [found.keys, found.values];
    const given = topologicalOrder(outputs, new Set()).filter(
      ({ operator }) => operator === "input",
    );
    const kernel = await runtime.compile(outputs, given);
    const inputs = given.map((tensor, slot) => bind(tracer.bindings.get(tensor)!, slot));
    const [keys, values] = (await kernel.run(inputs)) as [Value, Value];
    prefixes.set(layer, { keys, values });
  }
  return prefixes;
}
