// A real model from its GGUF: greedy tokens equal those of transformers on the same dequantised weights,
// and the tokenizer inside gives its ids (README.md). Slow, and needs the file.

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

interface RealModel {
  readonly name: string;
  /** The environment variable with the file's path. */
  readonly variable: string;
  /** Its folder below `cases`. */
  readonly cases: string;
  /** Whether the stored ids of prompts have what the tokenizer puts in front of a text. */
  readonly withSpecialTokens: boolean;
}

/** Declares the tests; they are skipped where the variable is not set. */
export function testGreedy({ name, variable, cases, withSpecialTokens }: RealModel): void {
  const path = process.env[variable];
  const { prompts, newTokens } = JSON.parse(
    readFileSync(join(CASES, cases, "greedy.json"), "utf8"),
  ) as Greedy;
  const title = path ? `${name} greedy` : `${name} greedy (skipped: ${variable} is not set)`;

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
        expect(tokenizer.encode(prompt, { addSpecialTokens: withSpecialTokens })).toEqual(
          promptIds,
        );
        expect(tokenizer.decode(tokenIds)).toBe(text);
      }
    });
  });
}
