// Numbers, durations and small pictures as people read them.

import { expect, it } from "vitest";
import { formatBytes, formatCount, formatDuration, formatTable, sparkline } from "./format.ts";

it.each([
  [0, "0 B"],
  [999, "999 B"],
  [1536, "1.5 kB"],
  [999_950, "1.0 MB"],
  [123_456_789, "123 MB"],
])("writes %d bytes as %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

it("writes counts", () => {
  expect(formatCount(9216)).toBe("9216");
  expect(formatCount(134_515_008)).toBe("135 M");
});

it.each([
  [1.25, "1.3s"],
  [59.6, "1m 00s"],
  [75, "1m 15s"],
  [3599.7, "1h 00m"],
  [200_000, "2d 7h"],
])("writes %d seconds as %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

it("draws a line of values", () => {
  expect(sparkline([1, 2, 3, 4, 5, 6, 7, 8], 8)).toBe("▁▂▃▄▅▆▇█");
  expect(sparkline([8, 8, 1, 1], 2)).toBe("█▁");
  expect(sparkline([5, 5], 4)).toBe("▁▁");
  expect(sparkline([Number.NaN], 4)).toBe("");
});

it("aligns columns", () => {
  expect(
    formatTable([
      ["a", "1"],
      ["long", "2"],
    ]),
  ).toBe("a     1\nlong  2\n");
});
