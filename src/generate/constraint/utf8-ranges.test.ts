// The byte ranges of a set match the encodings of its characters and of no others.

import { expect, it } from "vitest";
import { type CodePoints, codePoints, complement } from "./code-points.ts";
import { utf8Ranges } from "./utf8-ranges.ts";

const LIMITS = [0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xffff, 0x10000, 0x10ffff];

it.each<CodePoints>([
  [[0x41, 0x5a]],
  [[0xe0, 0x1f600]],
  [[0x7e, 0x811]],
  [[0x805, 0x83f]],
  [[0x1234, 0x5678]],
  [[0x10001, 0x2f7fe]],
  complement(
    codePoints([
      [0x0a, 0x0a],
      [0x22, 0x22],
      [0x3042, 0x3042],
    ]),
  ),
])("of %j and more", (...ranges) => {
  const set = codePoints(ranges);
  const sequences = utf8Ranges(set);
  const matches = (codePoint: number) => {
    const bytes = [...Buffer.from(String.fromCodePoint(codePoint))];
    const fitting = sequences.filter(
      (each) =>
        each.length === bytes.length &&
        each.every(([low, high], i) => low <= bytes[i]! && bytes[i]! <= high),
    );
    expect(fitting.length, codePoint.toString(16)).toBeLessThanOrEqual(1);
    return fitting.length === 1;
  };
  // Around every end of a range, where a cut may be wrong, and here and there between them.
  const near = [...set.flat(), ...LIMITS].flatMap((end) =>
    Array.from({ length: 261 }, (_, i) => end - 130 + i),
  );
  const between = Array.from({ length: 1000 }, (_, i) => i * 1113);
  for (const codePoint of new Set([...near, ...between])) {
    if (codePoint < 0 || codePoint > 0x10ffff) continue;
    if (0xd800 <= codePoint && codePoint <= 0xdfff) continue;
    const isIn = set.some(([first, last]) => first <= codePoint && codePoint <= last);
    expect(matches(codePoint), codePoint.toString(16)).toBe(isIn);
  }
});
