// How the weights of a quantised checkpoint are kept, in words: those that stay as they are, and those that are
// widened because there is no such form in memory.

import type { Checkpoint } from "../hub/index.ts";

/** One line each, by the number of weights; none for a checkpoint that is not quantised. */
export function storedWeights({ tensors }: Pick<Checkpoint, "tensors">): {
  /** Such as `210 weights as int4`. */
  readonly kept: readonly string[];
  /** Such as `30 weights: 8 bits`. */
  readonly widened: readonly string[];
} {
  const all = [...tensors.values()];
  const counted = (words: readonly (string | undefined)[]) => {
    const counts = new Map<string, number>();
    for (const word of words) if (word !== undefined) counts.set(word, (counts.get(word) ?? 0) + 1);
    return [...counts];
  };
  const weights = (count: number) => `${count} ${count === 1 ? "weight" : "weights"}`;
  return {
    kept: counted(all.map(({ quantization }) => quantization)).map(
      ([type, count]) => `${weights(count)} as ${type}`,
    ),
    widened: counted(all.map(({ widenedFor }) => widenedFor)).map(
      ([why, count]) => `${weights(count)}: ${why}`,
    ),
  };
}
