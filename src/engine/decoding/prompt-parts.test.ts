// Parts of a prompt: together they are the prompt, and few lengths are computed.

import { expect, it } from "vitest";
import { batchSize } from "./batch-sizes.ts";
import { promptParts } from "./prompt-parts.ts";

it.each([
  [1, [1]],
  [5, [8]],
  [300, [320]],
  [512, [512]],
  [700, [512, 192]],
])("of %i tokens have %j", (tokens, lengths) => {
  const parts = promptParts(tokens, 512);
  expect(parts.map(({ sequence }) => sequence)).toEqual(lengths);
  let next = 0;
  for (const { start, count, sequence } of parts) {
    expect(start).toBe(next);
    expect(count).toBeLessThanOrEqual(sequence);
    next = start + count;
  }
  expect(next).toBe(tokens);
});

it("batches have few sizes", () => {
  expect([1, 2, 3, 4, 5, 6].map((rows) => batchSize(rows, 6))).toEqual([1, 2, 4, 4, 6, 6]);
});
