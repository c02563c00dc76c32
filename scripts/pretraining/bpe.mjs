/**
 * Byte-pair encoding (Sennrich et al. 2016) over bytes, as GPT-2 has it: learns the merges of a tokenizer from word counts.
 */

/** GPT-2's reversible map from bytes to printable characters: printable Latin-1 stays, the rest moves to 256 and up. */
export function byteCharacters() {
  const printable = (byte) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCharCode(printable(byte) ? byte : next++),
  );
}

/**
 * Repeatedly merges the most frequent neighbouring pair of symbols; equal counts go by code-unit order, so the result
 * does not depend on the order of the input.
 *
 * @param {Map<string, number>} wordCounts words spelled in byte characters, with their counts
 * @param {number} mergeCount how many merges to learn
 * @returns {[string, string][]} the merges, first learned first
 */
export function learnMerges(wordCounts, mergeCount) {
  const words = [...wordCounts].map(([word, count]) => ({ symbols: [...word], count }));
  /** pair, joined by a space → total count and the words that may contain it */
  const pairs = new Map();
  const add = (word, index, sign) => {
    for (let i = 0; i + 1 < word.symbols.length; i++) {
      const key = `${word.symbols[i]} ${word.symbols[i + 1]}`;
      const pair = pairs.get(key) ?? { count: 0, words: new Set() };
      pairs.set(key, pair);
      pair.count += sign * word.count;
      if (sign > 0) pair.words.add(index);
    }
  };
  for (const [index, word] of words.entries()) add(word, index, 1);

  const merges = [];
  while (merges.length < mergeCount) {
    const best = mostFrequent(pairs);
    if (best === undefined) break;
    const [left, right] = best.split(" ");
    merges.push([left, right]);
    for (const index of pairs.get(best).words) {
      const word = words[index];
      add(word, index, -1);
      word.symbols = mergeSymbols(word.symbols, left, right);
      add(word, index, 1);
    }
    pairs.delete(best);
  }
  return merges;
}

function mostFrequent(pairs) {
  let best;
  let highest = 1;
  for (const [key, { count }] of pairs) {
    if (count > highest || (count === highest && best !== undefined && key < best))
      [best, highest] = [key, count];
  }
  return best;
}

function mergeSymbols(symbols, left, right) {
  const merged = [];
  for (let i = 0; i < symbols.length; i++) {
    const together = symbols[i] === left && symbols[i + 1] === right;
    merged.push(together ? left + right : symbols[i]);
    if (together) i++;
  }
  return merged;
}
