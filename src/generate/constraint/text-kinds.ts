// Kinds of text whose tokens come and go together: most of an answer is written where any text of a kind may
// follow, up to some number of characters, and most tokens are of such a kind.

import { type Automaton, DEAD } from "./automaton.ts";
import {
  ANY_CHARACTER,
  type CodePoints,
  charactersOf,
  codePoints,
  difference,
} from "./code-points.ts";
import { utf8Ranges } from "./utf8-ranges.ts";

export interface TextKind {
  readonly characters: CodePoints;
  /** Whether a byte stands in the encoding of such a character. */
  has(byte: number): boolean;
}

/** Characters that stand in a JSON string as themselves: no quote, backslash or control (RFC 8259). */
export const PLAIN: CodePoints = difference(
  ANY_CHARACTER,
  codePoints([...charactersOf('"\\'), [0, 0x1f]]),
);

/** The larger kinds first: strings hold any plain text, patterns and formats mostly small letters. */
export const TEXT_KINDS: readonly TextKind[] = [
  { characters: PLAIN, has: (byte) => byte >= 0x20 && byte !== 0x22 && byte !== 0x5c },
  { characters: [[0x61, 0x7a]], has: (byte) => byte >= 0x61 && byte <= 0x7a },
];

/**
 * How many characters of a kind a state has room for: whichever they are, so many may follow, and no more.
 * Undefined where it depends on which they are; `most` where there is room for that many or more.
 */
export function createRoom(
  automaton: Automaton,
  { characters }: TextKind,
  most: number,
): (state: number) => number | undefined {
  const { classOf } = automaton;
  /** Classes of bytes, one list for each place in the encoding of a character. */
  const encodings = utf8Ranges(characters).map((ranges) =>
    ranges.map(([low, high]) => [...new Set(classOf.subarray(low, high + 1))]),
  );
  /** States behind one character; undefined where some may come and others not. */
  const stepsOf = memoized((state: number): readonly number[] | undefined => {
    const reached = new Set<number>();
    let isAnyDead = false;
    for (const encoding of encodings) {
      let from = new Set([state]);
      for (const classes of encoding) {
        const to = new Set<number>();
        for (const each of from)
          for (const byteClass of classes) {
            const next = automaton.next(each, byteClass);
            if (next === DEAD) isAnyDead = true;
            else to.add(next);
            if (isAnyDead && to.size + reached.size > 0) return undefined;
          }
        from = to;
      }
      for (const each of from) reached.add(each);
    }
    return [...reached];
  });
  /** Room by `state * (most + 1) + limit`: up to a limit that is one lower behind each character. */
  const roomOf = memoized((key: number): number | undefined => {
    const [state, limit] = [Math.floor(key / (most + 1)), key % (most + 1)];
    if (limit === 0) return 0;
    const steps = stepsOf(state);
    if (steps === undefined) return undefined;
    if (steps.length === 0) return 0;
    const [first, ...others] = steps.map((step) => roomOf(step * (most + 1) + limit - 1));
    return first !== undefined && others.every((room) => room === first) ? first + 1 : undefined;
  });
  return (state) => roomOf(state * (most + 1) + most);
}

function memoized<Key, Value>(make: (key: Key) => Value): (key: Key) => Value {
  const made = new Map<Key, Value>();
  return (key) => {
    if (!made.has(key)) made.set(key, make(key));
    return made.get(key)!;
  };
}
