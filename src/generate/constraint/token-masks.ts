// Which tokens may come in a state: one walk through the tree of tokens beside the automaton, kept for
// when the state comes again.

import { type Automaton, DEAD } from "./automaton.ts";
import type { TokenTrie } from "./token-trie.ts";

/** One bit for each id, 32 in a word. */
export type TokenMask = Uint32Array;

/** Masks kept; the oldest goes first. 256 of a vocabulary of 256k tokens are 8 MB. */
const KEPT = 256;

/** For a state, the tokens all of whose bytes lead on from it. */
export function createTokenMasks(
  trie: TokenTrie,
  automaton: Automaton,
): (state: number) => TokenMask {
  const masks = new Map<number, TokenMask>();
  const states = new Int32Array(trie.deepest + 1);
  const { bytes, depths, behind, tokenIds, tokenEnds, vocabularySize } = trie;
  const { classOf } = automaton;
  const classes = bytes.map((byte) => classOf[byte]!);

  const walk = (state: number): TokenMask => {
    const mask = new Uint32Array(Math.ceil(vocabularySize / 32));
    states[0] = state;
    for (let node = 0; node < bytes.length; ) {
      const depth = depths[node]!;
      const next = automaton.next(states[depth - 1]!, classes[node]!);
      if (next === DEAD) {
        node = behind[node]!;
        continue;
      }
      states[depth] = next;
      for (let i = node === 0 ? 0 : tokenEnds[node - 1]!; i < tokenEnds[node]!; i++) {
        const id = tokenIds[i]!;
        mask[id >> 5]! |= 1 << (id & 31);
      }
      node++;
    }
    return mask;
  };
  return (state) => {
    const mask = masks.get(state) ?? walk(state);
    masks.delete(state);
    masks.set(state, mask);
    if (masks.size > KEPT) masks.delete(masks.keys().next().value!);
    return mask;
  };
}
