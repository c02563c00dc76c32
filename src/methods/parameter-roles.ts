// What becomes of the tensors that a method brings: which of them are trained, and which are only kept.

import { sizeOf } from "../tensor/index.ts";
import type { BoundMethod, ParameterSpec } from "./method.ts";

/**
 * "trained"; "frozen": saved with the rest; "derived": made anew from the base; "state": what a schedule
 * remembers.
 */
export type ParameterRole = "trained" | "frozen" | "derived" | "state";

/** The role that a tensor's marks give it. */
export function parameterRole({ frozen, derived, state }: ParameterSpec): ParameterRole {
  if (state) return "state";
  if (derived) return "derived";
  return frozen ? "frozen" : "trained";
}

/** Numbers in a method's tensors; one that several modules share counts once. */
export interface ParameterCounts {
  readonly trained: number;
  /** Of all other roles together: they take memory, and no gradient. */
  readonly untrained: number;
}

/** Counts the numbers of a method's tensors by what becomes of them. */
export function countParameters({ parameters }: Pick<BoundMethod, "parameters">): ParameterCounts {
  const counts = { trained: 0, untrained: 0 };
  for (const spec of new Map(parameters.map((each) => [each.key, each])).values())
    counts[parameterRole(spec) === "trained" ? "trained" : "untrained"] += sizeOf(spec.shape);
  return counts;
}
