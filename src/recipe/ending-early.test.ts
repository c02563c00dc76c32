// What is aborted, fails or is disposed of before it is done: it ends with the reason, closes what it
// opened, and leaves nothing where it was writing.

import { existsSync, readdirSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { loadModel } from "../api/index.ts";
import { expectFault } from "../hub/testing/files.ts";
import { convertAdapter, mergeAdapters } from "./adapters.ts";
import { classifyTexts } from "./classify.ts";
import { openConversation } from "./conversation.ts";
import { previewRecipeData } from "./data.ts";
import { evaluateRecipe } from "./evaluate.ts";
import { exportModel } from "./export.ts";
import { generateFile } from "./generate-file.ts";
import { merge } from "./merge.ts";
import { planRecipe } from "./plan.ts";
import { tinyChats, writeTinyModel } from "./testing/tiny-model.ts";
import { train } from "./train.ts";

const open = vi.hoisted(() => new Set<object>());
vi.mock("../runtime/kernel.ts", async (original) => {
  const kernel = await original<typeof import("../runtime/kernel.ts")>();
  const createRuntime: typeof kernel.createRuntime = (options) => {
    const runtime = kernel.createRuntime(options);
    open.add(runtime);
    return { ...runtime, dispose: () => runtime.dispose().finally(() => open.delete(runtime)) };
  };
  return { ...kernel, createRuntime };
});

const CASES = join(import.meta.dirname, "../../tests/parity/cases");
const adapter = join(CASES, "lora/all-linear/adapter");
const vera = join(CASES, "tuners/vera/adapter");

let scratch: string;
const inScratch = (name: string) => join(scratch, name);
let model: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "tunesmith-ending-"));
  model = inScratch("model");
  await writeTinyModel(model);
  await writeFile(inScratch("chats.jsonl"), tinyChats(6));
  await writeFile(inScratch("prompts.jsonl"), '{"prompt":"say 1"}\n{"prompt":"say 2"}\n');
});
beforeEach(() => open.clear());
afterEach(() => expect(open.size).toBe(0));
afterAll(() => rm(scratch, { recursive: true }));

let outs = 0;
const freshOut = () => inScratch(`out-${++outs}-`);

async function allOf<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of source) all.push(each);
  return all;
}

/** What runs to its end, or throws, with everything that it tells gone through. */
type Work = (signal: AbortSignal, out: string) => Promise<unknown>;

const recipe = (output: string) => ({
  model: { path: model },
  data: { train: inScratch("chats.jsonl"), eval: 0.3 },
  method: { name: "lora", rank: 2 } as const,
  train: { maxSteps: 1 },
  output,
});

/** What writes tensor by tensor, and must leave nothing of it. */
const STREAMS: Readonly<Record<string, Work>> = {
  merge: (signal, out) => merge({ model, adapter, out, signal, maxShardBytes: 20_000 }),
  "export as GGUF": (signal, out) => exportModel({ model, out, signal }),
  "export of a merge as GGUF": (signal, out) => exportModel({ model, adapter, out, signal }),
  "export as ONNX": (signal, out) =>
    exportModel({ model, format: "onnx", dtype: ["q4", "f32"], out, signal }),
};

/** What writes when all is computed. */
const WRITERS: Readonly<Record<string, Work>> = {
  mergeAdapters: (signal, out) => mergeAdapters({ adapters: [adapter, adapter], out, signal }),
  "another rank": (signal, out) => convertAdapter({ adapter, to: "lora", rank: 1, out, signal }),
  "conversion to LoRA": (signal, out) =>
    convertAdapter({ adapter: vera, to: "lora", rank: 1, model, out, signal }),
};

const OTHERS: Readonly<Record<string, Work>> = {
  train: async (signal, out) => allOf(train(recipe(out), { signal })),
  plan: (signal, out) => planRecipe(recipe(out), { signal }),
  "data preview": (signal, out) => previewRecipeData(recipe(out), { signal, samples: 1 }),
  evaluate: (signal) => evaluateRecipe({ model, adapter, data: inScratch("chats.jsonl"), signal }),
  classify: (signal) => classifyTexts(["a"], { model, signal }),
  openConversation: (signal) => openConversation({ model, signal }),
  loadModel: (signal) => loadModel(model, { signal }),
  generateFile: (signal, out) =>
    generateFile({ model, data: inScratch("prompts.jsonl"), out, signal }),
};

/** A signal that aborts when it is looked at for the time after `looks`, and what is told of it. */
function abortedAfter(looks: number, onAbort = () => {}): AbortSignal {
  const controller = new AbortController();
  const { signal } = controller;
  let left = looks;
  return Object.assign(signal, {
    throwIfAborted() {
      if (left-- === 0) {
        onAbort();
        controller.abort();
      }
      AbortSignal.prototype.throwIfAborted.call(signal);
    },
  });
}

describe("aborting", () => {
  it.each(Object.entries({ ...STREAMS, ...WRITERS, ...OTHERS }))(
    "%s before it begins",
    async (_, work) => {
      const signal = AbortSignal.abort(new Error("enough"));
      const out = freshOut();
      await expect(work(signal, out)).rejects.toBe(signal.reason);
      expect(existsSync(out)).toBe(false);
    },
  );

  const writing = Object.entries({ ...STREAMS, ...WRITERS });
  it.each(writing)("%s at any time leaves nothing", async (name, work) => {
    let aborted = 0;
    let hadBegun = false;
    for (let looks = 8; ; looks *= 4) {
      const out = freshOut();
      const signal = abortedAfter(looks, () => {
        hadBegun ||= readdirSync(scratch).some((each) => each.includes(basename(out)));
      });
      const outcome = await work(signal, out).then(
        () => "done",
        (error: unknown) => error,
      );
      expect(existsSync(out)).toBe(outcome === "done");
      if (outcome === "done") break;
      expect(outcome).toBe(signal.reason);
      aborted++;
    }
    expect(aborted).toBeGreaterThan(0);
    expect(hadBegun).toBe(name in STREAMS);
  });

  it("a merge into a folder that was there leaves it empty", async () => {
    const out = freshOut();
    await mkdir(out);
    let written: string[] = [];
    const signal = abortedAfter(32, () => {
      written = readdirSync(out);
    });
    const aborted = STREAMS.merge!(signal, out).catch((error) => error === signal.reason);
    await expect(aborted).resolves.toBe(true);
    expect(written).not.toEqual([]);
    expect(await readdir(out)).toEqual([]);
  });

  it("the quantising of a model on its way in ends it", async () => {
    let aborted = 0;
    for (let looks = 8; ; looks *= 4) {
      const signal = abortedAfter(looks);
      const outcome = await loadModel(model, { quantization: "nf4", signal }).then(
        (loaded) => loaded.dispose(),
        (error: unknown) => error,
      );
      if (outcome === undefined) break;
      expect(outcome).toBe(signal.reason);
      expect(open.size).toBe(0);
      aborted++;
    }
    expect(aborted).toBeGreaterThan(0);
  });

  it("texts that are judged stops between them", async () => {
    await using judge = await loadModel(model, { classifier: { labels: ["a", "b"] } });
    const texts = new Array<string>(20).fill("x");
    const signal = abortedAfter(1);
    const judged = judge.classify(texts, { signal });
    await expect(judged.catch((error) => error === signal.reason)).resolves.toBe(true);
    expect(await judge.classify(texts)).toHaveLength(20);
  });
});

describe("a model that was opened", () => {
  it("is closed where its tokenizer cannot be read", async () => {
    const damaged = inScratch("damaged");
    await writeTinyModel(damaged);
    await writeFile(join(damaged, "tokenizer.json"), "{");
    await expectFault(openConversation({ model: damaged }), /tokenizer\.json/);
  });

  it("is closed where a file cannot be answered", async () => {
    const data = inScratch("prompts.jsonl");
    await expectFault(generateFile({ model, data, out: freshOut(), maxBatch: 0 }), /maxBatch/);
  });
});

describe("a conversation that is disposed of", () => {
  const hello = [{ role: "user", content: "hello" }];

  it("ends the answer that is under way, and refuses another", async () => {
    await using conversation = await openConversation({ model });
    const answer = conversation.answer(hello, { maxNewTokens: 60, temperature: 1, seed: 3 });
    expect((await answer.next()).done).toBe(false);
    await Promise.all([conversation.dispose(), conversation.dispose()]);
    await expectFault(allOf(answer), /not used after dispose/);
    await expectFault(allOf(conversation.answer(hello)), /not used after dispose/);
  });
});
