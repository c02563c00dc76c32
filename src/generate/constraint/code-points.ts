// Sets of Unicode characters as sorted ranges. Surrogates are no characters: no UTF-8 text has them.

/** An inclusive range of code points. */
export type CodePointRange = readonly [first: number, last: number];

/** Sorted ranges that neither touch nor overlap. */
export type CodePoints = readonly CodePointRange[];

/** Every character that a text can have. */
export const ANY_CHARACTER: CodePoints = [
  [0, 0xd7ff],
  [0xe000, 0x10ffff],
];

/** The union of ranges in any order; surrogates are left out. */
export function codePoints(ranges: readonly CodePointRange[]): CodePoints {
  const joined: [number, number][] = [];
  for (const [first, last] of ranges.toSorted((a, b) => a[0] - b[0])) {
    const before = joined.at(-1);
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
    else joined.push([first, last]);
  }
  return intersection(joined, ANY_CHARACTER);
}

/** The set of a text's characters. */
export function charactersOf(text: string): CodePoints {
  return codePoints([...text].map((letter) => [letter.codePointAt(0)!, letter.codePointAt(0)!]));
}

export function intersection(a: CodePoints, b: CodePoints): CodePoints {
  return a.flatMap(([first, last]) =>
    b
      .map(([from, to]): CodePointRange => [Math.max(first, from), Math.min(last, to)])
      .filter(([from, to]) => from <= to),
  );
}

/** Every character that is not in the set. */
export function complement(set: CodePoints): CodePoints {
  const gaps: CodePointRange[] = [];
  let next = 0;
  for (const [first, last] of set) {
    if (first > next) gaps.push([next, first - 1]);
    next = last + 1;
  }
  if (next <= 0x10ffff) gaps.push([next, 0x10ffff]);
  return intersection(gaps, ANY_CHARACTER);
}

/** The characters of `a` that `b` lacks. */
export function difference(a: CodePoints, b: CodePoints): CodePoints {
  return intersection(a, complement(b));
}
