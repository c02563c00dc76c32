// How a prompt is cut into parts that are read one after another: of few distinct lengths, so that few
// kernels are compiled.

import { roundedLength } from "./rounded-length.ts";

export interface PromptPart {
  /** Where it begins, in the prompt. */
  readonly start: number;
  readonly count: number;
  /** The length that it is padded to. */
  readonly sequence: number;
}

/**
 * Lengths of parts where each has kernels that hold all weights again (decision 8): a prompt is as many
 * of the longest as it has room for, then of the next, and only the last part is padded.
 */
const HELD_LENGTHS = [256, 64, 16] as const;
const SHORTEST = HELD_LENGTHS[2];
const heldLength = (rest: number): number =>
  rest === 1 ? 1 : HELD_LENGTHS.find((length) => rest > length - SHORTEST)!;

/**
 * @param longest tokens that are read at once
 * @param isHeld whether kernels hold weights
 */
export function promptParts(tokens: number, longest: number, isHeld: boolean): PromptPart[] {
  const parts: PromptPart[] = [];
  for (let start = 0; start < tokens; start += parts.at(-1)!.count) {
    const rest = tokens - start;
    const fitting = isHeld ? heldLength(rest) : roundedLength(Math.min(rest, longest));
    const count = Math.min(rest, longest, fitting);
    parts.push({ start, count, sequence: fitting });
  }
  return parts;
}
