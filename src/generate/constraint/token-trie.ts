// The bytes of all tokens as one tree, laid out in the order of a walk through it, so that what a
// beginning rules out is left out for all tokens that begin so.

import { TunesmithError } from "../../errors.ts";
import type { Tokenizer } from "../../hub/index.ts";

export interface TokenTrie {
  /** Ids lie below it. */
  readonly vocabularySize: number;
  bytesOf(tokenId: number): Uint8Array | undefined;
  /** Of each node: the last byte of what it stands for. */
  readonly bytes: Uint8Array;
  /** Of each node: how many bytes lead to it. */
  readonly depths: Uint16Array;
  /** Of each node: the first node behind all that begin with it. */
  readonly behind: Int32Array;
  /** Ids in the order of the walk; those of node `n` end where `tokenEnds[n]` says. */
  readonly tokenIds: Int32Array;
  readonly tokenEnds: Int32Array;
  readonly deepest: number;
}

const LONGEST = 0xffff;

/** @throws TunesmithError (config) for a tokenizer whose tokens do not stand for bytes */
export function createTokenTrie(tokenizer: Tokenizer): TokenTrie {
  const { vocabularySize } = tokenizer;
  const bytesOf = tokenizer.tokenBytes?.bind(tokenizer);
  if (bytesOf === undefined)
    throw new TunesmithError("config", {
      where: "generate: responseFormat",
      rule: "an answer is held to a form by the bytes that each token stands for",
      seen: "a tokenizer whose decoder is neither byte-level nor SentencePiece's",
      fix: "leave responseFormat out with this model",
    });
  // As Latin-1 text bytes sort quickly.
  const texts: { text: string; id: number }[] = [];
  for (let id = 0; id < vocabularySize; id++) {
    const text = Buffer.from(bytesOf(id) ?? []).toString("latin1");
    if (text !== "" && text.length <= LONGEST) texts.push({ text, id });
  }
  texts.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id));

  const bytes: number[] = [];
  const depths: number[] = [];
  const tokenEnds: number[] = [];
  let before = "";
  texts.forEach(({ text }, position) => {
    let depth = 0;
    while (depth < before.length && before[depth] === text[depth]) depth++;
    for (; depth < text.length; depth++) {
      bytes.push(text.charCodeAt(depth));
      depths.push(depth + 1);
      tokenEnds.push(position);
    }
    tokenEnds[tokenEnds.length - 1] = position + 1;
    before = text;
  });
  return {
    vocabularySize,
    bytesOf,
    bytes: Uint8Array.from(bytes),
    depths: Uint16Array.from(depths),
    behind: nodesBehind(depths),
    tokenIds: Int32Array.from(texts, ({ id }) => id),
    tokenEnds: Int32Array.from(tokenEnds),
    deepest: depths.reduce((most, depth) => Math.max(most, depth), 0),
  };
}

/** For each node the next one that is not deeper. */
function nodesBehind(depths: readonly number[]): Int32Array {
  const behind = new Int32Array(depths.length);
  const open: number[] = [];
  for (let node = 0; node <= depths.length; node++) {
    const depth = depths[node] ?? 0;
    while (open.length > 0 && depths[open.at(-1)!]! >= depth) behind[open.pop()!] = node;
    open.push(node);
  }
  return behind;
}
