// What the tokens of a vocabulary stand for, ordered for masks: all of them as one tree; and for each kind
// of text those that are of it, by their length, and a tree of the others.

import { isUtf8 } from "node:buffer";
import { TunesmithError } from "../../errors.ts";
import type { Tokenizer } from "../../hub/index.ts";
import { TEXT_KINDS, type TextKind } from "./text-kinds.ts";
import { emptyMask, type TokenMask } from "./token-mask.ts";
import { createTokenTrie, type SpelledToken, type TokenTrie } from "./token-trie.ts";

export interface TokenSpellings {
  /** Ids lie below it. */
  readonly vocabularySize: number;
  bytesOf(tokenId: number): Uint8Array | undefined;
  readonly all: TokenTrie;
  /** In the order of `TEXT_KINDS`. */
  readonly kinds: readonly TokensOfKind[];
}

export interface TokensOfKind {
  readonly kind: TextKind;
  /** Tokens of this kind of text of up to so many characters, by that number. */
  readonly upTo: readonly TokenMask[];
  /** Every token that is in none of these masks. */
  readonly others: TokenTrie;
}

/** Characters of the longest tokens that count as of a kind; longer ones are too few to be worth masks. */
export const LONGEST_OF_KIND = 16;

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
  for (let id = 0; id < vocabularySize; id++) {
    const bytes = bytesOf(id);
    if (bytes === undefined || bytes.length === 0 || bytes.length > LONGEST) continue;
    tokens.push({ id, text: Buffer.from(bytes).toString("latin1") });
  }
  tokens.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id));
  return {
    vocabularySize,
    bytesOf,
    all: createTokenTrie(tokens),
    kinds: TEXT_KINDS.map((kind) => tokensOfKind(kind, tokens, vocabularySize)),
  };
}

function tokensOfKind(
  kind: TextKind,
  tokens: readonly SpelledToken[],
  vocabularySize: number,
): TokensOfKind {
  const upTo = Array.from({ length: LONGEST_OF_KIND + 1 }, () => emptyMask(vocabularySize));
  const others = tokens.filter(({ id, text }) => {
    const length = lengthIn(kind, text);
    if (length > LONGEST_OF_KIND) return true;
    upTo[length]![id >> 5]! |= 1 << (id & 31);
    return false;
  });
  for (let length = 1; length <= LONGEST_OF_KIND; length++)
    upTo[length - 1]!.forEach((bits, word) => {
      upTo[length]![word]! |= bits;
    });
  return { kind, upTo, others: createTokenTrie(others) };
}

/** Characters of a text of a kind; Infinity for what is none. */
function lengthIn(kind: TextKind, text: string): number {
  let characters = 0;
  let isAscii = true;
  for (let i = 0; i < text.length; i++) {
    const byte = text.charCodeAt(i);
    if (!kind.has(byte)) return Number.POSITIVE_INFINITY;
    isAscii &&= byte < 0x80;
    // What goes on with a character is no new one.
    if ((byte & 0xc0) !== 0x80) characters++;
  }
  return isAscii || isUtf8(Buffer.from(text, "latin1")) ? characters : Number.POSITIVE_INFINITY;
}
