// SmolLM2-135M-Instruct from its GGUF: greedy tokens equal those of transformers on the same
// dequantised weights (README.md). Slow, and needs the file: TUNESMITH_SMOLLM2 is its path.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LoadedModel, loadModel } from "../../src/index.ts";
import { CASES } from "./stored-cases.ts";

interface Greedy {
  readonly newTokens: number;
  readonly prompts: readonly {
    readonly prompt: string;
    readonly promptIds: number[];
    readonly tokenIds: number[];
    readonly text: string;
  }[];
}

const MINUTES = 60_000;
const path = process.env.TUNESMITH_SMOLLM2;
const { prompts, newTokens } = JSON.parse(
  readFileSync(join(CASES, "smollm2/greedy.json"), "utf8"),
) as Greedy;
const title = path ? "SmolLM2 greedy" : "SmolLM2 greedy (skipped: TUNESMITH_SMOLLM2 is not set)";

describe.skipIf(!path)(title, () => {
  let model: LoadedModel;
  beforeAll(async () => {
    model = await loadModel(path!, { dtype: "float32" });
  }, 5 * MINUTES);
  afterAll(() => model?.dispose());
  const generate = async (inputIds: number[][]) =>
    (await model.generate({ inputIds, maxNewTokens: newTokens, ignoreEos: true })).tokenIds;

  it.each(prompts)(
    "continues $promptIds.length tokens",
    async ({ promptIds, tokenIds }) => expect(await generate([promptIds])).toEqual([tokenIds]),
    5 * MINUTES,
  );

  it(
    "continues all prompts in one batch",
    async () =>
      expect(await generate(prompts.map(({ promptIds }) => promptIds))).toEqual(
        prompts.map(({ tokenIds }) => tokenIds),
      ),
    10 * MINUTES,
  );

  it("reads and writes their text", async () => {
    const tokenizer = await model.loadTokenizer();
    for (const { prompt, promptIds, tokenIds, text } of prompts) {
      expect(tokenizer.encode(prompt, { addSpecialTokens: false })).toEqual(promptIds);
      expect(tokenizer.decode(tokenIds)).toBe(text);
    }
  });
});
