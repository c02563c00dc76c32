// The tensors that AdaLoRA brings to a module, and what its schedule remembers of each.

import { peftPath } from "../adapted-modules.ts";
import type { ParameterSpec } from "../method.ts";
import { filledSpec, normalSpec, zeroSpec } from "../parts/initial-values.ts";
import type { LinearModule } from "../targets.ts";

/** A tensor of a module, and its running importance. */
export interface ScoredParameter {
  readonly spec: ParameterSpec;
  readonly sensitivity: ParameterSpec;
  readonly uncertainty: ParameterSpec;
}

export interface AdaloraModule extends LinearModule {
  readonly rank: number;
  /** A, [rank, in]. */
  readonly a: ScoredParameter;
  /** B, [out, rank]. */
  readonly b: ScoredParameter;
  /** E, [rank, 1]. */
  readonly e: ScoredParameter;
  /** 1 for the triplets that stay, else 0. */
  readonly kept: ParameterSpec;
}

const state = (spec: ParameterSpec): ParameterSpec => ({ ...spec, state: true });

export function adaloraModule(target: LinearModule, rank: number): AdaloraModule {
  const { path, inputSize, outputSize } = target;
  const scored = (spec: ParameterSpec): ScoredParameter => ({
    spec,
    sensitivity: state(zeroSpec(`${spec.key}.sensitivity`, spec.shape)),
    uncertainty: state(zeroSpec(`${spec.key}.uncertainty`, spec.shape)),
  });
  const key = (name: string) => `${peftPath(path)}.${name}`;
  return {
    ...target,
    rank,
    a: scored(normalSpec(key("lora_A"), [rank, inputSize], 0.02)),
    b: scored(normalSpec(key("lora_B"), [outputSize, rank], 0.02)),
    e: scored(zeroSpec(key("lora_E"), [rank, 1])),
    kept: state(filledSpec(key("kept"), [rank], 1)),
  };
}

/** What the plan came to be: total, initial and final steps; zeros before a run has begun. */
export const PLAN: ParameterSpec = state(zeroSpec("adalora.plan", [3]));

/** Everything that the schedule of these modules remembers. */
export const scheduleState = (modules: readonly AdaloraModule[]): ParameterSpec[] => [
  PLAN,
  ...modules.flatMap(({ a, b, e, kept }) => [
    ...[a, b, e].flatMap(({ sensitivity, uncertainty }) => [sensitivity, uncertainty]),
    kept,
  ]),
];
