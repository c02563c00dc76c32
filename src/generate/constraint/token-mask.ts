// A set of tokens, and scores cut down to it.

/** One bit for each id, 32 in a word. */
export type TokenMask = Uint32Array;

export const emptyMask = (vocabularySize: number): TokenMask =>
  new Uint32Array(Math.ceil(vocabularySize / 32));

/**
 * Gives -Infinity to what the mask lacks, ids beyond it included.
 *
 * @param scores [vocabulary], changed in place
 * @returns the first id that is left, -1 where none is
 */
export function keepMasked(scores: Float32Array, mask: TokenMask): number {
  const words = Math.min(mask.length, Math.ceil(scores.length / 32));
  let first = -1;
  let word = 0;
  while (word < words) {
    const bits = mask[word]!;
    if (bits === 0) {
      // Most masks are of a few tokens: what lies between them is filled at once.
      const begin = word;
      while (word < words && mask[word] === 0) word++;
      scores.fill(Number.NEGATIVE_INFINITY, 32 * begin, 32 * word);
      continue;
    }
    if (first === -1) first = 32 * word + lowestBit(bits);
    for (let lacking = ~bits; lacking !== 0; lacking &= lacking - 1)
      scores[32 * word + lowestBit(lacking)] = Number.NEGATIVE_INFINITY;
    word++;
  }
  scores.fill(Number.NEGATIVE_INFINITY, Math.min(scores.length, 32 * words));
  return first;
}

const lowestBit = (bits: number): number => 31 - Math.clz32(bits & -bits);
