// How much text a model reads: its context, less what its method puts in front.

import type { BoundMethod } from "../methods/index.ts";
import type { BoundArchitecture } from "../models/index.ts";

/** The longest text in tokens, prompt and answer together. */
export function textContext({
  architecture,
  method,
}: {
  readonly architecture: BoundArchitecture;
  readonly method: BoundMethod | undefined;
}): number {
  const taken = (method?.virtualTokens?.count ?? 0) + (method?.positionOffset ?? 0);
  return architecture.dimensions.maximumPositions - taken;
}
