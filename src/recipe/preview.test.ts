// Rows shown as spans: padding left out, packed samples apart, first tokens never trained.

import { expect, it } from "vitest";
import type { Batch } from "../engine/batch.ts";
import type { Tokenizer } from "../hub/tokenizer-types.ts";
import { previewRows } from "./preview.ts";

const tokenizer = {
  decode: (ids: readonly number[]) => ids.map((id) => String.fromCharCode(96 + id)).join(""),
} as unknown as Tokenizer;

async function preview(batch: Batch) {
  async function* epoch() {
    yield batch;
  }
  const rows = await previewRows({ epoch }, tokenizer, 5);
  return rows.map(({ samples, tokens, trainedTokens }) => [
    samples.map((spans) =>
      spans.map(({ text, trained }) => (trained ? `[${text}]` : text)).join(""),
    ),
    tokens,
    trainedTokens,
  ]);
}

it("shows what is trained on and leaves padding out", async () => {
  const batch = {
    inputIds: [
      [1, 2, 3, 4, 0],
      [1, 2, 0, 0, 0],
    ],
    attentionMask: [
      [1, 1, 1, 1, 0],
      [1, 1, 0, 0, 0],
    ],
    labels: [
      [-100, -100, 3, 4, -100],
      [1, 2, -100, -100, -100],
    ],
  };
  expect(await preview(batch)).toEqual([
    [["ab[cd]"], 4, 2],
    [["a[b]"], 2, 1],
  ]);
});

it("keeps packed samples apart", async () => {
  const batch = {
    inputIds: [[1, 2, 3, 4, 5, 0]],
    segmentIds: [[1, 1, 2, 2, 2, 0]],
    labels: [[-100, 2, -100, 4, 5, -100]],
  };
  expect(await preview(batch)).toEqual([[["a[b]", "c[de]"], 5, 3]]);
});
