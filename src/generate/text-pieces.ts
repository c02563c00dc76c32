// From tokens to text as they come. A character may take several tokens and a word's form may depend
// on the token before it, so each piece is what a token adds to the text of a few before it.

import type { Tokenizer } from "../hub/index.ts";

export interface TextPieces {
  /** The text that the token completes; empty while a character is unfinished. */
  add(tokenId: number): string;
  /** What is left at the end: an unfinished character, shown as replacement marks. */
  finish(): string;
}

/** Tokens of the prompt that may decide how the first new one reads. */
const CONTEXT_TOKENS = 4;
const REPLACEMENT = "\ufffd";

/** @param prompt what the new tokens continue */
export function createTextPieces(tokenizer: Tokenizer, prompt: readonly number[]): TextPieces {
  const decode = (ids: readonly number[]) => tokenizer.decode(ids, { skipSpecialTokens: true });
  let window = prompt.slice(-CONTEXT_TOKENS);
  // A prompt that ends within a character has not shown it.
  let written = decode(window).replace(/\ufffd+$/, "");
  let shown = window.length; // tokens of the window whose text was given out

  const take = (text: string): string => {
    const piece = text.slice(written.length);
    // The window moves on: what was just shown is the context of what follows.
    window = window.slice(shown);
    shown = window.length;
    written = decode(window);
    return piece;
  };
  return {
    add(tokenId) {
      window = [...window, tokenId];
      const text = decode(window);
      return text.endsWith(REPLACEMENT) || text.length <= written.length ? "" : take(text);
    },
    finish: () => take(decode(window)),
  };
}
