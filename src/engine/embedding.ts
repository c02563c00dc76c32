// Rows of the embedding as its module gives them: the table's, times the factor that some have.

import type { BoundArchitecture } from "../models/index.ts";
import { gatherRows } from "./rows.ts";
import type { WeightStore } from "./weights/weights.ts";

/**
 * Writes the states [ids.length, hidden] of tokens into `target`; what is left of it is zeroed.
 * @param trained the table, where it is trained and so not among the weights
 */
export function embedTokens(
  { embeddingName, dimensions }: Pick<BoundArchitecture, "embeddingName" | "dimensions">,
  weights: Pick<WeightStore, "readRows">,
  ids: readonly number[],
  target: Float32Array,
  trained?: Float32Array,
): void {
  const { hiddenSize, embeddingScale = 1 } = dimensions;
  if (trained) gatherRows(trained, ids, hiddenSize, target);
  else weights.readRows(embeddingName, ids, target);
  if (embeddingScale === 1) return;
  const scale = Math.fround(embeddingScale);
  for (let i = 0; i < ids.length * hiddenSize; i++) target[i]! *= scale;
}
