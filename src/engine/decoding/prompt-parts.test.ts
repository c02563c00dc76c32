// Parts of a prompt: together they are the prompt, and few lengths are computed.

import { expect, it } from "vitest";
import { batchSize } from "./batch-sizes.ts";
import { promptParts } from "./prompt-parts.ts";

it.each([
  [1, false, [1]],
  [5, false, [8]],
  [300, false, [320]],
  [700, false, [512, 192]],
  [5, true, [16]],
  [17, true, [16, 1]],
  [300, true, [256, 16, 16, 16]],
  [512, true, [256, 256]],
  [310, true, [256, 64]],
  [250, true, [256]],
  [100, true, [64, 16, 16, 16]],
])("of %i tokens, where kernels hold weights: %s, have %j", (tokens, isHeld, lengths) => {
  const parts = promptParts(tokens, 512, isHeld);
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
