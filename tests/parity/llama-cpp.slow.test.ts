// Exported models in llama.cpp itself: it computes the logits that tunesmith does. On
// request: TUNESMITH_SLOW=1 TUNESMITH_LLAMA_CPP=<a folder where `npm install node-llama-cpp` was run>, and with
// TUNESMITH_SMOLLM2=<the GGUF>, with its folder (README.md), and TUNESMITH_GEMMA3=<the GGUF> for real models too.

import { mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openModel } from "../../src/engine/load.ts";
import { randomRows, VOCABULARY } from "../../src/engine/testing/tiny-models.ts";
import { openGguf } from "../../src/hub/gguf/gguf.ts";
import { readCase } from "../../src/hub/testing/cases.ts";
import { convertAdapter } from "../../src/recipe/adapters.ts";
import { exportModel } from "../../src/recipe/export.ts";
import { IN_GGUF, type InGguf, tinyInGguf } from "../../src/recipe/testing/tiny-in-gguf.ts";
import { arrayDifference } from "../../src/runtime/testing/array-difference.ts";
import { CASES } from "./stored-cases.ts";

/** What is used of node-llama-cpp, which is not among the dependencies. */
interface LlamaCpp {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<LlamaModel> }>;
}
interface LlamaModel {
  createContext(options: object): Promise<{
    getSequence(): {
      evaluate(ids: readonly number[], options: object): AsyncIterable<number>;
      controlledEvaluate(
        ids: readonly (readonly [id: number, options: object])[],
      ): Promise<({ next: { logits?: ReadonlyMap<number, number> } } | undefined)[]>;
    };
    dispose(): Promise<void>;
  }>;
  tokenize(text: string, special: boolean): number[];
  dispose(): Promise<void>;
}

const home = process.env.TUNESMITH_LLAMA_CPP;
const isAsked = process.env.TUNESMITH_SLOW !== undefined && home !== undefined;
const { TUNESMITH_SMOLLM2: smollm2, TUNESMITH_GEMMA3: gemma3 } = process.env;

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

/** Keys and values are kept in 16 bits unless told otherwise; random models tell the difference. */
const CONTEXT = {
  contextSize: 512,
  threads: 2,
  flashAttention: false,
  experimentalKvCacheKeyType: "F32",
  experimentalKvCacheValueType: "F32",
};

async function continued(model: LlamaModel, prompt: readonly number[], count: number) {
  const context = await model.createContext(CONTEXT);
  const tokens: number[] = [];
  const options = { temperature: 0, yieldEogToken: true };
  for await (const token of context.getSequence().evaluate(prompt, options))
    if (tokens.push(token) === count) break;
  await context.dispose();
  return tokens;
}

/** What it computes at every position, [positions, vocabulary]. */
async function logitsOf(
  model: LlamaModel,
  ids: readonly number[],
  adapter?: string,
): Promise<Float32Array> {
  const lora = adapter && { lora: { adapters: [{ filePath: adapter, scale: 1 }] } };
  const context = await model.createContext({ ...CONTEXT, ...lora });
  const options = { generateNext: { logits: true } };
  const results = await context.getSequence().controlledEvaluate(ids.map((id) => [id, options]));
  await context.dispose();
  return Float32Array.from(
    results.flatMap((result) =>
      Array.from({ length: VOCABULARY }, (_, token) => result!.next.logits!.get(token)!),
    ),
  );
}

/** Adapters of PEFT's on these models, by parity case. */
const ADAPTERS: Partial<Record<InGguf, string>> = {
  qwen3: "architectures/qwen3-lora",
  "qwen2-moe": "architectures/qwen2-moe-lora",
  olmo2: "architectures/olmo2-lora",
  phi3: "architectures/phi3-lora",
  gemma: "architectures/gemma-lora",
  gemma2: "architectures/gemma2-lora",
  "gemma3-text": "architectures/gemma3-text-lora",
  glm: "glm/glm-lora",
  glm4: "glm/glm4-lora",
  chatglm: "glm/chatglm-lora",
  gpt2: "gpt/gpt2-lora",
  "gpt-neox": "gpt/gpt-neox-lora",
  falcon: "gpt/falcon-lora",
  phi: "architectures/phi-lora",
};

/** llama.cpp reads GELU from a table in 16 bits, and its form with tanh where a model has the exact one. */
const HAS_GELU = /gemma|gpt|falcon|^phi$/;

describe.skipIf(!isAsked)(
  "llama.cpp (needs TUNESMITH_SLOW and TUNESMITH_LLAMA_CPP)",
  () => {
    it.each(Object.keys(IN_GGUF) as InGguf[])(
      "computes the logits that tunesmith does: %s",
      async (name) => {
        // llama.cpp looks for some names in a model's own and expects tokens of it then.
        const model = await tinyInGguf(join(folder, `${Object.keys(IN_GGUF).indexOf(name)}`), name);
        const out = `${model}.gguf`;
        await exportModel({ model, dtype: "f32", out });
        const own = await openModel(model, { threads: 1 });
        const theirs = await load(out);
        const file = await openGguf(out);
        await file.close();
        const [, context] = [...file.metadata].find(([key]) => key.endsWith(".context_length"))!;
        for (const ids of randomRows([22, 40, 31])) {
          const inputIds = [ids.slice(0, Number(context))];
          const { logits } = await own.forward({ inputIds });
          const difference = arrayDifference(await logitsOf(theirs, inputIds[0]!), logits.data);
          expect(difference).toBeLessThan(HAS_GELU.test(name) ? 1e-3 : 1e-5);
        }
        await own.dispose();
        await theirs.dispose();
      },
    );

    it.each(Object.entries(ADAPTERS) as [InGguf, string][])(
      "computes them with an adapter: %s",
      async (name, path) => {
        const model = await tinyInGguf(
          join(folder, `adapted-${Object.keys(ADAPTERS).indexOf(name)}`),
          name,
        );
        const [out, lora] = [`${model}.gguf`, `${model}.lora.gguf`];
        const adapter = join(CASES, path, "adapter");
        await exportModel({ model, dtype: "f32", out });
        await convertAdapter({ adapter, to: "gguf", model, out: lora });
        const [base, own] = [await openModel(model), await openModel(model, { adapter })];
        const theirs = await load(out);
        const inputIds = randomRows([24]);
        const { data } = (await own.forward({ inputIds })).logits;
        const without = (await base.forward({ inputIds })).logits.data;
        expect(arrayDifference(without, data)).toBeGreaterThan(0.05);
        const difference = arrayDifference(await logitsOf(theirs, inputIds[0]!, lora), data);
        expect(difference).toBeLessThan(HAS_GELU.test(name) ? 1e-3 : 1e-5);
        await Promise.all([own.dispose(), base.dispose(), theirs.dispose()]);
      },
    );

    it.skipIf(!smollm2)(
      "reads SmolLM2's texts and continues its prompts as Transformers does",
      () => checkReal("smollm2", join(smollm2!, "../hf"), 0),
      1_800_000,
    );

    it.skipIf(!gemma3)(
      "reads Gemma 3's texts and continues its prompts as Transformers does",
      () => checkReal("gemma3", gemma3!, 1),
      1_800_000,
    );
  },
  120_000,
);

/** @param bos how many tokens stored ids begin with that llama.cpp's own `tokenize` leaves out */
async function checkReal(cases: string, source: string, bos: number): Promise<void> {
  const out = join(folder, `${cases}.gguf`);
  await exportModel({ model: source, dtype: "f32", out });
  const model = await load(out);
  const { texts } = readCase<{ texts: { text: string; ids: number[] }[] }>(
    `${cases}/tokenizer.json`,
  );
  for (const { text, ids } of texts)
    expect(model.tokenize(text, true), text).toEqual(ids.slice(bos));
  const { prompts } = readCase<{ prompts: { promptIds: number[]; tokenIds: number[] }[] }>(
    `${cases}/greedy.json`,
  );
  for (const { promptIds, tokenIds } of prompts)
    expect(await continued(model, promptIds, tokenIds.length)).toEqual(tokenIds);
  await model.dispose();
}
