// The bytes of tokens as one tree, laid out in the order of a walk through it, so that what a beginning
// rules out is left out for all tokens that begin so.

export interface TokenTrie {
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

export interface SpelledToken {
  readonly id: number;
  /** Its bytes as Latin-1: as text they sort quickly. */
  readonly text: string;
}

/** @param tokens sorted by their bytes; none is empty or longer than 65,535 bytes */
export function createTokenTrie(tokens: readonly SpelledToken[]): TokenTrie {
  let size = 0;
  let before = "";
  for (const { text } of tokens) {
    size += text.length - shared(before, text);
    before = text;
  }
  const bytes = new Uint8Array(size);
  const depths = new Uint16Array(size);
  const tokenEnds = new Int32Array(size);
  let node = -1;
  before = "";
  tokens.forEach(({ text }, position) => {
    for (let depth = shared(before, text); depth < text.length; depth++) {
      node++;
      bytes[node] = text.charCodeAt(depth);
      depths[node] = depth + 1;
      tokenEnds[node] = position;
    }
    tokenEnds[node] = position + 1;
    before = text;
  });
  return {
    bytes,
    depths,
    behind: nodesBehind(depths),
    tokenIds: Int32Array.from(tokens, ({ id }) => id),
    tokenEnds,
    deepest: depths.reduce((most, depth) => Math.max(most, depth), 0),
  };
}

/** How many bytes two tokens begin with alike. */
function shared(a: string, b: string): number {
  let count = 0;
  while (count < a.length && a.charCodeAt(count) === b.charCodeAt(count)) count++;
  return count;
}

/** For each node the next one that is not deeper. */
function nodesBehind(depths: Uint16Array): Int32Array {
  const behind = new Int32Array(depths.length);
  const open: number[] = [];
  for (let node = 0; node <= depths.length; node++) {
    const depth = depths[node] ?? 0;
    while (open.length > 0 && depths[open.at(-1)!]! >= depth) behind[open.pop()!] = node;
    open.push(node);
  }
  return behind;
}
