// Gemma 3 270M from its GGUF; TUNESMITH_GEMMA3 is its path.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openCheckpoint } from "../../src/hub/index.ts";
import { testGreedy } from "./real-greedy.ts";
import { CASES } from "./stored-cases.ts";

const path = process.env.TUNESMITH_GEMMA3;

testGreedy({
  name: "Gemma 3",
  variable: "TUNESMITH_GEMMA3",
  cases: "gemma3",
  withSpecialTokens: true,
});

it.skipIf(!path)(
  "the tokenizer of Gemma 3 gives the same ids, and the texts back",
  async () => {
    const { texts } = JSON.parse(readFileSync(join(CASES, "gemma3/tokenizer.json"), "utf8")) as {
      texts: { text: string; ids: number[] }[];
    };
    const checkpoint = await openCheckpoint(path!);
    try {
      const tokenizer = await checkpoint.loadTokenizer();
      for (const { text, ids } of texts) {
        expect(tokenizer.encode(text), text).toEqual(ids);
        expect(tokenizer.decode(ids.slice(1)), text).toBe(text);
      }
    } finally {
      await checkpoint.close();
    }
  },
  60_000,
);
