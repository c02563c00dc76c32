// One answer held to a form: which tokens may come next, and whether it may end.

import { TunesmithError } from "../../errors.ts";
import { type Automaton, DEAD } from "./automaton.ts";
import type { TokenMask } from "./token-masks.ts";
import type { TokenTrie } from "./token-trie.ts";

/** A form, ready for answers of one tokenizer; any number of answers share it. */
export interface TokenConstraint {
  readonly trie: TokenTrie;
  readonly automaton: Automaton;
  maskOf(state: number): TokenMask;
}

export interface AnswerConstraint {
  /**
   * Gives every token that must not come next the score -Infinity.
   *
   * @param scores [vocabulary], changed in place
   * @throws TunesmithError (config) where the vocabulary cannot spell what would have to come
   */
  restrict(scores: Float32Array): void;
  /** Goes on behind a token of the answer. */
  accept(tokenId: number): void;
  /** Whether the answer fits and nothing may follow. */
  readonly isComplete: boolean;
}

/** @param stops ids that end the answer: never within it, only where it may end */
export function constrainAnswer(
  { trie, automaton, maskOf }: TokenConstraint,
  stops: ReadonlySet<number>,
): AnswerConstraint {
  let state = automaton.start;
  return {
    restrict(scores) {
      const mayEnd = automaton.isAccepting(state);
      const kept = [...stops].map((id) => [id, mayEnd ? scores[id]! : Number.NEGATIVE_INFINITY]);
      keep(scores, maskOf(state));
      for (const [id, score] of kept) scores[id!] = score!;
      if (!scores.some((score) => score > Number.NEGATIVE_INFINITY)) throw unspellable();
    },
    accept(tokenId) {
      if (stops.has(tokenId)) return;
      for (const byte of trie.bytesOf(tokenId)!)
        state = automaton.next(state, automaton.classOf[byte]!);
      if (state === DEAD) throw new Error(`token ${tokenId} does not fit`);
    },
    get isComplete() {
      return automaton.isFinal(state);
    },
  };
}

/** -Infinity for what the mask lacks, ids beyond it included. */
function keep(scores: Float32Array, mask: TokenMask): void {
  for (let word = 0; word < mask.length; word++) {
    const bits = mask[word]!;
    if (bits === 0xffffffff) continue;
    const end = Math.min(scores.length, 32 * word + 32);
    for (let id = 32 * word; id < end; id++)
      if (((bits >>> (id & 31)) & 1) === 0) scores[id] = Number.NEGATIVE_INFINITY;
  }
  scores.fill(Number.NEGATIVE_INFINITY, Math.min(scores.length, 32 * mask.length));
}

const unspellable = () =>
  new TunesmithError("config", {
    where: "generate: responseFormat",
    rule: "the vocabulary has tokens for every character that the form asks for",
    seen: "no token that could come next",
    fix: "let the form use other characters, or give stopTokenIds where the answer may end",
  });
