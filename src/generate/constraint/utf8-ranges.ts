// A range of characters as sequences of byte ranges: what an automaton over bytes needs of UTF-8.

import type { CodePoints } from "./code-points.ts";

/** Inclusive range of bytes. */
export type ByteRange = readonly [low: number, high: number];

/** The last code point of each length of encoding, one byte first (RFC 3629). */
const LAST_OF_LENGTH = [0x7f, 0x7ff, 0xffff, 0x10ffff];

/** Sequences of ranges whose bytes, one from each range, are the encodings of the set and nothing else. */
export function utf8Ranges(set: CodePoints): ByteRange[][] {
  return set.flatMap(([first, last]) => split(first, last));
}

function split(first: number, last: number): ByteRange[][] {
  const end = LAST_OF_LENGTH.find((limit) => first <= limit)!;
  if (last > end) return [...split(first, end), ...split(end + 1, last)];
  // Continuation bytes vary freely only where everything before them is equal; cut until it is so.
  for (let bits = 6; bits < 6 * LAST_OF_LENGTH.indexOf(end) + 1; bits += 6) {
    const low = (1 << bits) - 1;
    if (first >> bits === last >> bits) continue;
    if ((first & low) !== 0)
      return [...split(first, first | low), ...split((first | low) + 1, last)];
    if ((last & low) !== low)
      return [...split(first, (last & ~low) - 1), ...split(last & ~low, last)];
  }
  const [from, to] = [encode(first), encode(last)];
  return [from.map((byte, i): ByteRange => [byte, to[i]!])];
}

const encode = (codePoint: number): number[] => [...Buffer.from(String.fromCodePoint(codePoint))];
