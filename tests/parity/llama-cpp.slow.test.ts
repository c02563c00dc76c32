// Exported models in llama.cpp itself: it continues prompts with the tokens that tunesmith does. On
// request: TUNESMITH_SLOW=1 TUNESMITH_LLAMA_CPP=<a folder where `npm install node-llama-cpp` was run>, and with
// TUNESMITH_SMOLLM2=<the GGUF> and its folder (README.md) for the real model too.

import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openModel } from "../../src/engine/load.ts";
import {
  randomRows,
  type TinyModel,
  tinyModelFolder,
  VOCABULARY,
} from "../../src/engine/testing/tiny-models.ts";
import { generate } from "../../src/generate/index.ts";
import { readCase } from "../../src/hub/testing/cases.ts";
import { exportModel } from "../../src/recipe/export.ts";
import { writeTinyModel } from "../../src/recipe/testing/tiny-model.ts";

/** What is used of node-llama-cpp, which is not among the dependencies. */
interface LlamaCpp {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>;
}
interface LlamaModel {
  createContext(options: object): Promise<{
    getSequence(): { evaluate(ids: readonly number[], options: object): AsyncIterable<number> };
    dispose(): Promise<void>;
  }>;
  tokenize(text: string, special: boolean): number[];
  dispose(): Promise<void>;
}

const home = process.env.TUNESMITH_LLAMA_CPP;
const isAsked = process.env.TUNESMITH_SLOW !== undefined && home !== undefined;
const smollm2 = process.env.TUNESMITH_SMOLLM2;

let folder: string;
let load: (path: string) => Promise<LlamaModel>;
beforeAll(async () => {
  if (!isAsked) return;
  folder = await mkdtemp(join(tmpdir(), "tunesmith-llama-cpp-"));
  const entry = createRequire(join(resolve(home), "x.js")).resolve("node-llama-cpp");
  const { getLlama } = (await import(pathToFileURL(entry).href)) as LlamaCpp;
  const llama = await getLlama({ build: "never", gpu: false, logLevel: "error" });
  load = (modelPath) => llama.loadModel({ modelPath });
});
afterAll(() => folder && rm(folder, { recursive: true }));

async function continued(model: LlamaModel, prompt: readonly number[], count: number) {
  // Keys and values are kept in 16 bits unless told otherwise; random models tell the difference.
  const context = await model.createContext({
    contextSize: 512,
    threads: 2,
    experimentalKvCacheKeyType: "F32",
    experimentalKvCacheValueType: "F32",
  });
  const tokens: number[] = [];
  const options = { temperature: 0, yieldEogToken: true };
  for await (const token of context.getSequence().evaluate(prompt, options))
    if (tokens.push(token) === count) break;
  await context.dispose();
  return tokens;
}

/** How far the best logit of a row is ahead: llama.cpp's functions are approximate, by about 1e-3. */
function margin(logits: Float32Array, row: number): number {
  const [first, second] = logits
    .slice(row * VOCABULARY, (row + 1) * VOCABULARY)
    .sort((a, b) => b - a);
  return first! - second!;
}

const NAMES = ["base", "biases", "head-dim", "mixtral", "qwen2", "qwen3"] as const;

describe.skipIf(!isAsked)(
  "llama.cpp (needs TUNESMITH_SLOW and TUNESMITH_LLAMA_CPP)",
  () => {
    it.each<TinyModel>(NAMES)("continues as tunesmith does: %s", async (name) => {
      const model = join(folder, name);
      await writeTinyModel(model, tinyModelFolder(name));
      const out = join(folder, `${name}.gguf`);
      await exportModel({ model, dtype: "f32", out });
      const own = await openModel(model, { threads: 1 });
      const theirs = await load(out);
      for (const prompt of randomRows([6, 11, 3])) {
        const options = { inputIds: [prompt], maxNewTokens: 12, ignoreEos: true };
        const [tokens] = (await generate(own, options)).tokenIds;
        const { logits } = await own.forward({ inputIds: [[...prompt, ...tokens!]] });
        const clear = tokens!.flatMap((_, i) =>
          margin(logits.data, prompt.length - 1 + i) < 0.01 ? [] : [i],
        );
        expect(clear.length).toBeGreaterThan(5);
        // After a token that might be either, llama.cpp goes on from ours.
        for (const i of clear) {
          const before = [...prompt, ...tokens!.slice(0, i)];
          expect(await continued(theirs, before, 1), `token ${i}`).toEqual([tokens![i]]);
        }
      }
      await own.dispose();
      await theirs.dispose();
    });

    it.skipIf(!smollm2)(
      "reads SmolLM2's texts and continues its prompts as Transformers does",
      async () => {
        const out = join(folder, "smollm2.gguf");
        await exportModel({ model: join(smollm2!, "../hf"), dtype: "f32", out });
        const model = await load(out);
        const { texts } = readCase<{ texts: { text: string; ids: number[] }[] }>(
          "smollm2/tokenizer.json",
        );
        for (const { text, ids } of texts) expect(model.tokenize(text, true), text).toEqual(ids);
        const { prompts } = readCase<{ prompts: { promptIds: number[]; tokenIds: number[] }[] }>(
          "smollm2/greedy.json",
        );
        for (const { promptIds, tokenIds } of prompts)
          expect(await continued(model, promptIds, tokenIds.length)).toEqual(tokenIds);
        await model.dispose();
      },
      1_800_000,
    );
  },
  120_000,
);
