// Exported models in transformers.js, in Node and in a real Chromium, by WebAssembly and by WebGPU: they
// continue texts with the tokens that tunesmith does. On request: TUNESMITH_SLOW=1
// TUNESMITH_BROWSER=<a folder where `npm install puppeteer-core @huggingface/transformers` was run>, with a
// Chromium on the PATH or at TUNESMITH_CHROMIUM; TUNESMITH_SMOLLM2=<the GGUF> (README.md) adds the real model.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OnnxDtype } from "../../src/engine/onnx-export/write-onnx.ts";
import { ARCHITECTURES } from "../../src/engine/testing/contract-subjects.ts";
import {
  randomRows,
  type TinyModel,
  tinyModelFolder,
} from "../../src/engine/testing/tiny-models.ts";
import { readCase } from "../../src/hub/testing/cases.ts";
import {
  type ChatMessage,
  type ConversationOptions,
  loadModel,
  openConversation,
  train,
} from "../../src/index.ts";
import { exportModel } from "../../src/recipe/export.ts";
import { writeTinyModel } from "../../src/recipe/testing/tiny-model.ts";
import { arrayDifference } from "../../src/runtime/testing/array-difference.ts";
import {
  browserFolder,
  chromium,
  importInstalled,
  type OpenPage,
  openPage,
} from "../testing/chromium.ts";

const MINUTES = 60_000;
const EMBEDDED = join(import.meta.dirname, "../../assets/embedded-model");
const DATA = join(import.meta.dirname, "../../assets/quickstart/train.jsonl");
const isAsked = Boolean(process.env.TUNESMITH_SLOW && browserFolder);
const smollm2 = process.env.TUNESMITH_SMOLLM2;

/** What is used of transformers.js, which is not among the dependencies. */
interface TransformersJs {
  readonly env: { allowRemoteModels: boolean; localModelPath: string; logLevel: number };
  readonly Tensor: new (type: string, data: BigInt64Array, dims: readonly number[]) => object;
  readonly AutoModelForCausalLM: {
    from_pretrained(name: string, options: object): Promise<Model>;
  };
}
interface Model {
  (inputs: object): Promise<{ readonly logits: { readonly data: Float32Array } }>;
  generate(options: object): Promise<{ readonly data: BigInt64Array }>;
  dispose(): Promise<unknown>;
}
interface Answer {
  readonly logits: readonly number[];
  readonly ids: readonly (readonly number[])[];
}

/** Logits of rows of equal length, and how a model continues them; the text of what a page runs, too. */
async function answered(
  model: Model,
  { Tensor }: Pick<TransformersJs, "Tensor">,
  rows: number[][],
  count: number,
): Promise<Answer> {
  const shape = [rows.length, rows[0]!.length];
  const int64 = (values: readonly number[]) =>
    new Tensor("int64", BigInt64Array.from(values, BigInt), shape);
  const inputs = {
    input_ids: int64(rows.flat()),
    attention_mask: int64(rows.flat().map(() => 1)),
  };
  const { logits } = await model(inputs);
  // No token ends a text.
  const options = { max_new_tokens: count, do_sample: false, eos_token_id: -1 };
  const { data } = await model.generate({ ...inputs, ...options });
  const all = Array.from(data, Number);
  const width = all.length / rows.length;
  const ids = rows.map((row, i) => all.slice(i * width + row.length, (i + 1) * width));
  return { logits: Array.from(logits.data), ids };
}

/** The same of a folder below the scratch folder, in this process. */
async function answeredHere(name: string, dtype: string, rows: number[][], count: number) {
  const model = await library.AutoModelForCausalLM.from_pretrained(name, { dtype });
  const answer = await answered(model, library, rows, count);
  await model.dispose();
  return answer;
}

/** The same of the model that a page has loaded. */
async function answeredIn({ page }: OpenPage, rows: number[][], count: number) {
  const imported = `await import("./transformers/transformers.min.js")`;
  const args = `chat.model, ${imported}, ${JSON.stringify(rows)}, ${count}`;
  return (await page.evaluate(`(async () => (${answered})(${args}))()`)) as Answer;
}

let folder: string;
let library: TransformersJs;
beforeAll(async () => {
  if (!isAsked) return;
  folder = await mkdtemp(join(tmpdir(), "tunesmith-transformers-js-"));
  library = await importInstalled<TransformersJs>("@huggingface/transformers");
  Object.assign(library.env, { allowRemoteModels: false, localModelPath: `${folder}/` });
});
afterAll(() => folder && rm(folder, { recursive: true }));

async function ours(model: string, inputIds: number[][], count: number, adapter?: string) {
  await using own = await loadModel(model, { adapter, dtype: "float32" });
  const options = { inputIds, maxNewTokens: count, ignoreEos: true };
  return (await own.generate(options)).tokenIds;
}

const NAMES: Record<OnnxDtype, string> = {
  f32: "fp32",
  f16: "fp16",
  q8: "q8",
  q4: "q4",
  q4f16: "q4f16",
};
const DTYPES = Object.keys(NAMES) as OnnxDtype[];
/** Vision models and models that fill blanks are refused (export-onnx.test.ts). */
const REFUSED: readonly TinyModel[] = ["glm-130b", "idefics3", "smolvlm"];
const TINY = Object.values(ARCHITECTURES)
  .flat()
  .filter((name) => !REFUSED.includes(name));

describe.skipIf(!isAsked)(
  "transformers.js in Node (needs TUNESMITH_SLOW and TUNESMITH_BROWSER)",
  () => {
    it.each(TINY)("continues as tunesmith does: %s", async (name) => {
      const model = join(folder, `${name}-model`);
      await writeTinyModel(model, tinyModelFolder(name));
      await exportModel({ model, format: "onnx", dtype: "f32", out: join(folder, name) });
      const rows = randomRows([6, 6]);
      const theirs = await answeredHere(name, "fp32", rows, 8);
      expect(theirs.ids).toEqual(await ours(model, rows, 8));
    });
  },
);

/** Our own answers to questions one after another. */
async function conversed(
  opening: ConversationOptions,
  questions: readonly string[],
  maxNewTokens: number,
): Promise<string[]> {
  const conversation = await openConversation({ ...opening, dtype: "float32" });
  const messages: ChatMessage[] = [];
  const answers: string[] = [];
  for (const content of questions) {
    messages.push({ role: "user", content });
    let answer = "";
    const sampling = { temperature: 0, maxNewTokens };
    for await (const piece of conversation.answer(messages, sampling)) answer += piece;
    messages.push({ role: "assistant", content: answer });
    answers.push(answer);
  }
  await conversation.dispose();
  return answers;
}

const hasChromium = isAsked && chromium !== undefined;
const title =
  "transformers.js in Chromium (needs TUNESMITH_SLOW, TUNESMITH_BROWSER and a Chromium)";

describe.skipIf(!hasChromium)(title, () => {
  const QUESTIONS = [
    "Please call me on 23 April, my number is 01520396.",
    "Hey, please deliver order #88775 to Marseille.",
  ];
  const TOKENS = 24;
  let adapter = "";
  let rows: number[][];
  let open: OpenPage;
  beforeAll(async () => {
    const output = join(folder, "run");
    const events = train({
      model: { path: EMBEDDED },
      data: { train: DATA },
      method: { name: "lora", rank: 16, targets: "all-linear" },
      train: { maxSteps: 24, batchSize: 8, learningRate: 0.003 },
      output,
    });
    for await (const event of events)
      if (event.type === "run-finished") adapter = event.adapterFolder ?? "";
    const out = join(folder, "embedded");
    await exportModel({ model: EMBEDDED, adapter, format: "onnx", dtype: DTYPES, out });
    await using model = await loadModel(EMBEDDED);
    const tokenizer = await model.loadTokenizer();
    rows = QUESTIONS.map((text) => tokenizer.encode(text).slice(0, 12));
    open = await openPage(out);
  }, 10 * MINUTES);
  afterAll(() => open?.close());

  it(
    "talks in the example's page as tunesmith does, and asks nothing of other servers",
    async () => {
      const { page, address, requests } = open;
      await open.load({ dtype: "fp32", tokens: String(TOKENS) });
      const texts: string[] = [];
      for (const question of QUESTIONS) {
        await page.type("input", question);
        await page.keyboard.press("Enter");
        await open.idle();
        const last = `document.querySelector("#messages").lastChild.textContent`;
        texts.push((await page.evaluate(last)) as string);
      }
      expect(texts).toEqual(await conversed({ model: EMBEDDED, adapter }, QUESTIONS, TOKENS));
      // What the adapter taught.
      expect(texts[0]).toContain('{"tool":');
      expect(requests.length).toBeGreaterThan(5);
      expect(
        requests.filter((url) => !url.startsWith(address) && !url.startsWith("blob:")),
      ).toEqual([]);
    },
    10 * MINUTES,
  );

  it.each([
    ["wasm", "f32", 1e-5],
    ["wasm", "f16", 2e-3],
    ["wasm", "q8", 1e-5],
    // There rows are rounded to 8 bits where processors have products for it.
    ["wasm", "q4", 5e-2],
    ["wasm", "q4f16", 5e-2],
    // float16 is what the software adapter has not.
    ["webgpu", "f32", 1e-4],
    ["webgpu", "q8", 1e-4],
    ["webgpu", "q4", 5e-2],
  ] as const)(
    "%s gives in %s what Node gives, and in f32 tunesmith's tokens",
    async (device, type, tolerance) => {
      await open.load({ device, dtype: NAMES[type] });
      const theirs = await answeredIn(open, rows, type === "f32" ? TOKENS : 1);
      const node = await answeredHere("embedded", NAMES[type], rows, 1);
      expect(arrayDifference(theirs.logits, node.logits)).toBeLessThan(tolerance);
      if (type === "f32") expect(theirs.ids).toEqual(await ours(EMBEDDED, rows, TOKENS, adapter));
    },
    20 * MINUTES,
  );

  it.skipIf(!smollm2)(
    "continues SmolLM2's prompts with the tokens of Transformers",
    async () => {
      const out = join(folder, "smollm2");
      const model = join(dirname(smollm2!), "hf");
      await exportModel({ model, format: "onnx", dtype: ["f32"], out });
      const { prompts } = readCase<{ prompts: { promptIds: number[]; tokenIds: number[] }[] }>(
        "smollm2/greedy.json",
      );
      const own = await openPage(out);
      try {
        await own.load({});
        const [{ promptIds, tokenIds }] = prompts as [(typeof prompts)[number]];
        const { ids } = await answeredIn(own, [promptIds], tokenIds.length);
        expect(ids).toEqual([tokenIds]);
      } finally {
        await own.close();
      }
    },
    30 * MINUTES,
  );
});
