// The trained tensors of a model: created from a method's declarations, fed to kernels in place.

import {
  type ParameterRole,
  type ParameterSpec,
  parameterRole,
  type Vocabulary,
} from "../methods/index.ts";
import type { Value } from "../runtime/kernel.ts";
import { createRandom } from "../runtime/random.ts";
import { floats } from "../runtime/values.ts";
import { sizeOf } from "../tensor/index.ts";
import type { Parameter } from "./model.ts";

export interface ParameterSet {
  /** Those that are trained. */
  readonly all: readonly Parameter[];
  /** Those that are saved: the trained ones and the frozen ones that do not follow from the base. */
  readonly saved: readonly Parameter[];
  /** What the method's schedule remembers; neither trained nor saved with the adapter. */
  readonly state: readonly Parameter[];
  parameter(spec: ParameterSpec): Parameter;
  /** The parameter's data as a kernel input: the same memory, so updates are seen at once. */
  value(spec: ParameterSpec): Value;
}

/** A parameter's first value. */
export type FirstValue = (spec: ParameterSpec) => Promise<Float32Array>;

/** First values as the specs declare them, from a run's seed and its base. */
export function firstValues(
  seed: number,
  base: (name: string) => Promise<Float32Array>,
  vocabulary: Vocabulary,
  published: (name: string) => Promise<Float32Array>,
): FirstValue {
  const random = createRandom(seed).fork("parameters");
  return (spec) => spec.initial(random, base, vocabulary, published);
}

interface Entry {
  readonly parameter: Parameter;
  readonly value: Value;
  readonly role: ParameterRole;
}

/**
 * @param stored values read from an adapter or a checkpoint, by key; the rest start as declared
 * @param isOptional whether a batch may leave a parameter out, by its key
 */
export async function createParameters(
  specs: readonly ParameterSpec[],
  first: FirstValue,
  stored: ReadonlyMap<string, Float32Array> = new Map(),
  isOptional: (key: string) => boolean = () => false,
): Promise<ParameterSet> {
  const entries = new Map<string, Entry>();
  for (const spec of specs) {
    if (entries.has(spec.key)) continue;
    const data = stored.get(spec.key) ?? (await first(spec));
    const { key: name, shape, learningRateFactor } = spec;
    const role = parameterRole(spec);
    const gradient = new Float32Array(role === "trained" ? sizeOf(shape) : 0);
    const parameter: Parameter = {
      name,
      shape,
      data,
      gradient,
      ...(learningRateFactor !== undefined && { learningRateFactor }),
      ...(isOptional(name) && { hasGradient: false }),
    };
    entries.set(name, { parameter, value: floats(data, shape), role });
  }
  const ofRoles = (...roles: readonly ParameterRole[]) =>
    [...entries.values()].flatMap(({ role, parameter }) =>
      roles.includes(role) ? [parameter] : [],
    );
  return {
    all: ofRoles("trained"),
    saved: ofRoles("trained", "frozen"),
    state: ofRoles("state"),
    parameter: (spec) => entries.get(spec.key)!.parameter,
    value: (spec) => entries.get(spec.key)!.value,
  };
}

/** target += values, element by element. */
export function addInto(target: Float32Array, values: Float32Array): void {
  for (let i = 0; i < target.length; i++) target[i]! += values[i]!;
}

/** Adds to a parameter's gradient. */
export function addGradient(parameter: Parameter, values: Float32Array): void {
  addInto(parameter.gradient, values);
  if (parameter.hasGradient === false) parameter.hasGradient = true;
}
