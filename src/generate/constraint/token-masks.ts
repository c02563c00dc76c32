// Which tokens may come in a state: one walk through the tree of tokens beside the automaton, kept for
// when the state comes again. Where any text of a kind may follow, its tokens are known before.

import { type Automaton, DEAD } from "./automaton.ts";
import { createRoom } from "./text-kinds.ts";
import { emptyMask, type TokenMask } from "./token-mask.ts";
import { LONGEST_OF_KIND, type TokenSpellings } from "./token-spellings.ts";
import type { TokenTrie } from "./token-trie.ts";

/** Bytes of masks kept, the oldest of which go first: 256 of a vocabulary of 256k tokens. */
const KEPT_BYTES = 8 << 20;

/** For a state, the tokens all of whose bytes lead on from it. */
export function createTokenMasks(
  { vocabularySize, all, kinds }: TokenSpellings,
  automaton: Automaton,
): (state: number) => TokenMask {
  const masks = new Map<number, TokenMask>();
  const known = kinds.map(({ kind, upTo, others }) => {
    return { upTo, others, roomOf: createRoom(automaton, kind, LONGEST_OF_KIND) };
  });
  const path = new Int32Array(all.deepest + 1);
  const kept = Math.max(1, Math.floor(KEPT_BYTES / emptyMask(vocabularySize).byteLength));

  const make = (state: number): TokenMask => {
    for (const { upTo, others, roomOf } of known) {
      const room = roomOf(state);
      if (room === undefined) continue;
      const mask = upTo[room]!.slice();
      addWalked(mask, state, others, automaton, path);
      return mask;
    }
    const mask = emptyMask(vocabularySize);
    addWalked(mask, state, all, automaton, path);
    return mask;
  };
  return (state) => {
    const mask = masks.get(state) ?? make(state);
    masks.delete(state);
    masks.set(state, mask);
    if (masks.size > kept) masks.delete(masks.keys().next().value!);
    return mask;
  };
}

/**
 * Adds the tokens of a tree that may come.
 *
 * @param path room for the states behind each byte of the deepest token, and one before them
 */
function addWalked(
  mask: TokenMask,
  state: number,
  { bytes, depths, behind, tokenIds, tokenEnds }: TokenTrie,
  automaton: Automaton,
  path: Int32Array,
): void {
  const { classOf } = automaton;
  path[0] = state;
  for (let node = 0; node < bytes.length; ) {
    const depth = depths[node]!;
    const next = automaton.next(path[depth - 1]!, classOf[bytes[node]!]!);
    if (next === DEAD) {
      node = behind[node]!;
      continue;
    }
    path[depth] = next;
    for (let i = node === 0 ? 0 : tokenEnds[node - 1]!; i < tokenEnds[node]!; i++) {
      const id = tokenIds[i]!;
      mask[id >> 5]! |= 1 << (id & 31);
    }
    node++;
  }
}
