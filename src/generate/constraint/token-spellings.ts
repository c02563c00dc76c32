// What the tokens of a vocabulary stand for, ordered for masks: all of them as one tree; and apart from
// each other those of plain text, which come and go together, and the few others.

import { isUtf8 } from "node:buffer";
import { TunesmithError } from "../../errors.ts";
import type { Tokenizer } from "../../hub/index.ts";
import { isPlainByte } from "./plain-text.ts";
import { emptyMask, type TokenMask } from "./token-mask.ts";
import { createTokenTrie, type SpelledToken, type TokenTrie } from "./token-trie.ts";

export interface TokenSpellings {
  /** Ids lie below it. */
  readonly vocabularySize: number;
  bytesOf(tokenId: number): Uint8Array | undefined;
  readonly all: TokenTrie;
  /** Tokens of plain text of up to so many characters, by that number. */
  readonly plainUpTo: readonly TokenMask[];
  /** Every token that is in no mask of `plainUpTo`. */
  readonly others: TokenTrie;
}

/** Characters of the longest tokens that count as plain; longer ones are too few to be worth masks. */
export const LONGEST_PLAIN = 16;

/** Bytes of the longest token; depths are kept as 16 bits. */
const LONGEST = 0xffff;

/** @throws TunesmithError (config) for a tokenizer whose tokens do not stand for bytes */
export function spellTokens(tokenizer: Tokenizer): TokenSpellings {
  const { vocabularySize } = tokenizer;
  const bytesOf = tokenizer.tokenBytes?.bind(tokenizer);
  if (bytesOf === undefined)
    throw new TunesmithError("config", {
      where: "generate: responseFormat",
      rule: "an answer is held to a form by the bytes that each token stands for",
      seen: "a tokenizer whose decoder is neither byte-level nor SentencePiece's",
      fix: "leave responseFormat out with this model",
    });
  const tokens: SpelledToken[] = [];
  const others = new Set<SpelledToken>();
  const plainUpTo = Array.from({ length: LONGEST_PLAIN + 1 }, () => emptyMask(vocabularySize));
  for (let id = 0; id < vocabularySize; id++) {
    const bytes = bytesOf(id);
    if (bytes === undefined || bytes.length === 0 || bytes.length > LONGEST) continue;
    const token = { id, text: Buffer.from(bytes).toString("latin1") };
    tokens.push(token);
    const characters = plainLength(bytes);
    if (characters > LONGEST_PLAIN) others.add(token);
    else plainUpTo[characters]![id >> 5]! |= 1 << (id & 31);
  }
  for (let length = 1; length <= LONGEST_PLAIN; length++)
    plainUpTo[length - 1]!.forEach((bits, word) => {
      plainUpTo[length]![word]! |= bits;
    });
  tokens.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id));
  return {
    vocabularySize,
    bytesOf,
    all: createTokenTrie(tokens),
    plainUpTo,
    others: createTokenTrie(tokens.filter((token) => others.has(token))),
  };
}

/** Characters of a plain text; Infinity for what is none. */
function plainLength(bytes: Uint8Array): number {
  let characters = 0;
  for (const byte of bytes) {
    if (!isPlainByte(byte)) return Number.POSITIVE_INFINITY;
    if ((byte & 0xc0) !== 0x80) characters++;
  }
  return isUtf8(bytes) ? characters : Number.POSITIVE_INFINITY;
}
