// One answer held to a form: which tokens may come next, and whether it may end.

import { TunesmithError } from "../../errors.ts";
import { type Automaton, DEAD } from "./automaton.ts";
import { keepMasked, type TokenMask } from "./token-mask.ts";
import type { TokenSpellings } from "./token-spellings.ts";

/** A form, ready for answers of one tokenizer; any number of answers share it. */
export interface TokenConstraint {
  readonly spellings: TokenSpellings;
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
  { spellings, automaton, maskOf }: TokenConstraint,
  stops: ReadonlySet<number>,
): AnswerConstraint {
  let state = automaton.start;
  return {
    restrict(scores) {
      const mayEnd = automaton.isAccepting(state);
      const kept = [...stops].map((id) => [id, mayEnd ? scores[id]! : Number.NEGATIVE_INFINITY]);
      const masked = keepMasked(scores, maskOf(state));
      for (const [id, score] of kept) scores[id!] = score!;
      const isPossible = (score: number | undefined) => score! > Number.NEGATIVE_INFINITY;
      if (!isPossible(scores[masked]) && !scores.some(isPossible)) throw unspellable();
    },
    accept(tokenId) {
      if (stops.has(tokenId)) return;
      for (const byte of spellings.bytesOf(tokenId)!)
        state = automaton.next(state, automaton.classOf[byte]!);
      if (state === DEAD) throw new Error(`token ${tokenId} does not fit`);
    },
    get isComplete() {
      return automaton.isFinal(state);
    },
  };
}

const unspellable = () =>
  new TunesmithError("config", {
    where: "generate: responseFormat",
    rule: "the vocabulary has tokens for every character that the form asks for",
    seen: "no token that could come next",
    fix: "let the form use other characters, or give stopTokenIds where the answer may end",
  });
