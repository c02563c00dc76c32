// Tensors of an adapter's file that are computed from its parameters: a prompt from its encoder.

import { type Fault, TunesmithError } from "../errors.ts";
import { type Adapter, type AdapterTensor, ENCODER } from "../hub/index.ts";
import type { BoundMethod, MethodScope } from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { Runtime } from "../runtime/kernel.ts";
import { floatData } from "../runtime/values.ts";
import type { Tensor } from "../tensor/index.ts";
import { createBind } from "./bind.ts";
import type { ParameterSet } from "./parameters.ts";
import { createTracer } from "./trace.ts";
import type { WeightStore } from "./weights/weights.ts";

/** What a method's own graphs are computed with. */
export interface MethodParts {
  readonly architecture: BoundArchitecture;
  readonly method: BoundMethod | undefined;
  readonly weights: WeightStore;
  readonly parameters: ParameterSet;
  readonly runtime: Runtime;
}

/** Outside of any batch. */
const SHAPE = { batch: 1, sequence: 1, maskBatch: 1, training: false } as const;

/** The values of graphs that depend on parameters and weights alone, by key. */
export async function computeTensors(
  parts: MethodParts,
  trace: (scope: MethodScope) => ReadonlyMap<string, Tensor>,
): Promise<Map<string, AdapterTensor>> {
  const { weights, parameters, runtime } = parts;
  const tracer = createTracer(parts, SHAPE);
  const traced = trace(tracer.methodScope);
  const kernel = await runtime.compile([...traced.values()], [...tracer.bindings.keys()]);
  const bind = createBind(weights, parameters);
  const inputs = [...tracer.bindings.values()].map((binding, slot) => bind(binding, slot, {}));
  const results = await kernel.run(inputs);
  return new Map(
    [...traced].map(([key, { shape }], i) => [key, { shape, data: floatData(results[i]!) }]),
  );
}

/** Sums in another order differ by less, another encoder's tensors by more. */
const TOLERANCE = 1e-3;

/**
 * Checks that an adapter's tensors are those that its encoder makes: whoever trains on would otherwise
 * go on from another adapter than the one that is there.
 * @throws TunesmithError (checkpoint) where they are not
 */
export async function checkEncoder(
  parts: MethodParts,
  { tensors, encoder }: Adapter,
  folder: string,
): Promise<void> {
  const saved = parts.method?.saved;
  if (!encoder || !saved || saved === "checkpoint" || !saved.computed) return;
  const faults: Fault[] = [];
  for (const [key, { data }] of await computeTensors(parts, saved.computed)) {
    const stored = tensors.get(key)?.data;
    const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const fits = (value: number, i: number) => Math.abs(value - stored![i]!) <= TOLERANCE * largest;
    if (stored?.length === data.length && data.every(fits)) continue;
    faults.push({
      where: `${folder}: ${key}`,
      rule: `is what ${ENCODER} makes`,
      seen: stored ? "other numbers" : "no such tensor",
      fix: `delete ${ENCODER} to use the adapter as it is, without its encoder`,
    });
  }
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults);
}
