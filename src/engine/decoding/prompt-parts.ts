// How a prompt is cut into parts that are read one after another: of few distinct lengths, so that few
// kernels are traced.

import { roundedLength } from "../rounded-length.ts";

export interface PromptPart {
  /** Where it begins, in the prompt. */
  readonly start: number;
  readonly count: number;
  /** The length that it is padded to. */
  readonly sequence: number;
}

/** @param longest tokens that are read at once */
export function promptParts(tokens: number, longest: number): PromptPart[] {
  const parts: PromptPart[] = [];
  for (let start = 0; start < tokens; start += longest) {
    const count = Math.min(tokens - start, longest);
    parts.push({ start, count, sequence: roundedLength(count) });
  }
  return parts;
}
