// A context is read as in training, whatever is read with it and before it: logits are compared with those of
// whole texts, read anew for every token.

import { expect, it } from "vitest";
import type { MethodOptions } from "../../methods/index.ts";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import { openTiny } from "../testing/tiny-models.ts";
import { createDecoder } from "./decoder.ts";
import { createRereadingDecoder } from "./rereading-decoder.ts";

const [MASK, LONG, START] = [93, 94, 96];
const TOLERANCE = 1e-5;

async function withBoth(
  batch: number,
  work: (
    append: (tokens: number[][]) => Promise<void>,
    truncate: (row: number, length: number) => void,
  ) => Promise<void>,
  method?: MethodOptions,
) {
  const model = await openTiny("glm-130b", { ...(method && { method }), seed: 3 });
  try {
    // A chunk shorter than a context does not cut it.
    const cached = createDecoder(model, { batch, chunk: 2, capacity: 8 });
    const whole = createRereadingDecoder(model, { batch });
    await work(
      async (tokens) => {
        const expected = (await whole.append(tokens)).map((row) => row?.slice());
        const seen = await cached.append(tokens);
        expect(cached.lengths).toEqual(whole.lengths);
        for (const [row, logits] of expected.entries())
          if (logits) expect(arrayDifference(seen[row]!, logits)).toBeLessThan(TOLERANCE);
          else expect(seen[row]).toBeUndefined();
      },
      (row, length) => {
        cached.truncate(row, length);
        whole.truncate(row, length);
      },
    );
  } finally {
    await model.dispose();
  }
}

it("reads blanks of both kinds beside a text without any", async () => {
  await withBoth(3, async (append) => {
    await append([
      [5, 6, 7, 8, LONG, START],
      [9, MASK, 10, 11, 12, 13, 14, START],
      [20, 21, 22],
    ]);
    await append([[30], [31], [32]]);
    await append([[33], [], [34]]);
    await append([[35], [36], [37]]);
  });
});

it("reads a row again where it has several new tokens, and rows beside it go on", async () => {
  await withBoth(2, async (append) => {
    await append([[5, 6, LONG, START], []]);
    await append([[7], [8, MASK, 9, START]]);
    await append([[10], [11]]);
    await append([[12, 13], [14]]);
  });
});

it("keeps of an earlier text what was read in the same context alone", async () => {
  await withBoth(1, async (append, truncate) => {
    await append([[5, 6, 7, LONG, START]]);
    await append([[8]]);
    truncate(0, 4); // the same prompt again
    await append([[START]]);
    truncate(0, 2); // within the context
    await append([[9]]);
    await append([[LONG, START]]);
    await append([[10]]);
    truncate(0, 0);
    await append([[5, 6, 7]]); // from left to right
    await append([[START]]); // which now are a context
    await append([[11]]);
  });
});

it.each([
  { name: "prefix", virtualTokens: 3 } as const,
  { name: "prompt", virtualTokens: 3 } as const,
])("behind the virtual tokens of $name", async (method) => {
  await withBoth(
    1,
    async (append) => {
      await append([[5, MASK, 6, 7, START]]);
      await append([[8]]);
      await append([[9]]);
    },
    method as MethodOptions,
  );
});
