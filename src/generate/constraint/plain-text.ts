// Plain characters: those that stand in a JSON string as themselves. Most tokens are made of them alone,
// and most of an answer is written where any of them may come, up to some number.

import { type Automaton, DEAD } from "./automaton.ts";
import {
  ANY_CHARACTER,
  type CodePoints,
  charactersOf,
  codePoints,
  difference,
} from "./code-points.ts";
import { utf8Ranges } from "./utf8-ranges.ts";

/** All but the quote, the backslash and what RFC 8259 calls control characters. */
export const PLAIN: CodePoints = difference(
  ANY_CHARACTER,
  codePoints([...charactersOf('"\\'), [0, 0x1f]]),
);

/** Whether a byte of UTF-8 is of a plain character. */
export const isPlainByte = (byte: number): boolean =>
  byte >= 0x20 && byte !== 0x22 && byte !== 0x5c;

const PLAIN_BYTES = utf8Ranges(PLAIN);

/**
 * How many plain characters a state has room for: whatever they are, so many may follow, and no more.
 * Undefined where it depends on which they are; `most` where there is room for that many or more.
 */
export function createPlainRoom(
  automaton: Automaton,
  most: number,
): (state: number) => number | undefined {
  const { classOf } = automaton;
  /** Classes of bytes, one list for each place in the encoding of a character. */
  const encodings = PLAIN_BYTES.map((ranges) =>
    ranges.map(([low, high]) => [...new Set(classOf.subarray(low, high + 1))]),
  );
  /** States behind one plain character; undefined where some may come and others not. */
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
