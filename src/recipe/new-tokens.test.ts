// Tokens beyond a model's own, from the recipe to files that need nothing else: what is learned about them
// is in the adapter, and in the merged model, with the tokenizer that makes them.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../api/index.ts";
import { openModel } from "../engine/load.ts";
import { tinyModelFolder } from "../engine/testing/tiny-models.ts";
import { withNewTokens } from "../engine/weights/new-tokens.ts";
import { type Checkpoint, openCheckpoint } from "../hub/index.ts";
import { expectFault } from "../hub/testing/files.ts";
import type { MethodOptions } from "../methods/index.ts";
import { openConversation } from "./conversation.ts";
import { prepare } from "./prepare.ts";
import { tinyChats, writeTinyModel } from "./testing/tiny-model.ts";
import { train } from "./train.ts";

const WIDTH = 32;
const ROWS = 97;

let scratch: string;
let data: string;
const bases: Record<"tied" | "untied", string> = { tied: "", untied: "" };
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "tunesmith-tokens-"));
  for (const [kind, source] of [
    ["tied", "base"],
    ["untied", "untied-head"],
  ] as const) {
    bases[kind] = join(scratch, kind);
    await writeTinyModel(bases[kind], tinyModelFolder(source));
  }
  data = join(scratch, "data.jsonl");
  await writeFile(data, tinyChats(6));
});
afterAll(() => rm(scratch, { recursive: true }));

async function reading<T>(folder: string, read: (checkpoint: Checkpoint) => Promise<T>) {
  const checkpoint = await openCheckpoint(folder);
  try {
    return await read(checkpoint);
  } finally {
    await checkpoint.close();
  }
}

async function tensor({ tensors, readFloat32Into }: Checkpoint, name: string) {
  const data = new Float32Array(tensors.get(name)!.shape.reduce((a, b) => a * b, 1));
  await readFloat32Into(name, data);
  return data;
}

const TOKENS = { add: ["abc"], special: ["<call>"], padToken: "<nil>" };

describe("a checkpoint with more tokens", () => {
  it("has the mean of its rows in new ones, and as many as asked for", () =>
    reading(bases.tied, async (checkpoint) => {
      const grown = await withNewTokens(checkpoint, { ...TOKENS, padToMultipleOf: 8 });
      expect(grown.config).toMatchObject({ vocab_size: 104, pad_token_id: 99 });
      expect(grown.newTokens).toEqual({ ids: [97, 98], isGrown: true });
      const name = "model.embed_tokens.weight";
      const [before, after] = [await tensor(checkpoint, name), await tensor(grown, name)];
      expect(after.length).toBe(104 * WIDTH);
      expect(after.subarray(0, before.length)).toEqual(before);
      for (let column = 0; column < WIDTH; column++) {
        let sum = 0;
        for (let row = 0; row < ROWS; row++) sum += before[row * WIDTH + column]!;
        for (let row = ROWS; row < 104; row++)
          expect(after[row * WIDTH + column]).toBe(Math.fround(sum / ROWS));
      }
    }));

  it("grows the output matrix too, and keeps 16-bit weights 16-bit", async () => {
    await reading(bases.untied, async (checkpoint) => {
      const grown = await withNewTokens(checkpoint, TOKENS);
      expect(grown.tensors.get("lm_head.weight")!.shape).toEqual([100, WIDTH]);
      expect((await tensor(grown, "lm_head.weight")).at(-1)).not.toBe(0);
    });
    await reading(tinyModelFolder("f16-weights"), async (checkpoint) => {
      const own = await reading(bases.tied, (other) => other.readTokenizer());
      const half = { ...checkpoint, readTokenizer: async () => own };
      const grown = await withNewTokens(half, TOKENS);
      const { dtype, shape } = grown.tensors.get("model.embed_tokens.weight")!;
      expect([dtype, shape]).toEqual(["F16", [100, WIDTH]]);
      const halves = new Uint16Array(100 * WIDTH);
      await grown.readRawInto("model.embed_tokens.weight", new Uint8Array(halves.buffer));
      const old = new Uint16Array(71 * WIDTH);
      await checkpoint.readRawInto("model.embed_tokens.weight", new Uint8Array(old.buffer));
      expect(halves.subarray(0, old.length)).toEqual(old);
      expect(halves.subarray(old.length, old.length + WIDTH)).toEqual(halves.subarray(-WIDTH));
    });
  });

  it("makes one token of each, which a message cannot forge where it is special", () =>
    reading(bases.tied, async (checkpoint) => {
      const grown = await withNewTokens(checkpoint, { ...TOKENS, eosToken: "<nil>" });
      const tokenizer = await grown.loadTokenizer();
      expect(tokenizer.encode("abc<call>")).toEqual([97, 98]);
      expect(tokenizer.encode("abc<call>", { parseSpecialTokens: false })).not.toContain(98);
      expect(tokenizer.decode([97, 98], { skipSpecialTokens: true })).toBe("abc");
      expect([tokenizer.padTokenId, tokenizer.eosTokenId]).toEqual([99, 99]);
      expect([grown.generationConfig?.eos_token_id].flat()[0]).toBe(99);
    }));

  it("keeps the ids of tokens that are there, and rows that are to spare", () =>
    reading(bases.tied, async (checkpoint) => {
      const known = await withNewTokens(checkpoint, { special: ["</s>"], padToken: "<s>" });
      expect(known.newTokens).toEqual({ ids: [], isGrown: false });
      expect(known.config).toMatchObject({ vocab_size: ROWS, pad_token_id: 1 });
      expect(known.tensors.get("model.embed_tokens.weight")!.shape).toEqual([ROWS, WIDTH]);
    }));
});

const METHODS: [string, keyof typeof bases, MethodOptions][] = [
  ["their rows", "tied", { name: "lora", trainableTokens: [97, 98] }],
  [
    "their rows in both matrices",
    "untied",
    { name: "lora", trainableTokens: { embed_tokens: [97, 98], lm_head: [97, 98] } },
  ],
  [
    "rows of the embedding and LoRA of the head that is tied to it",
    "tied",
    { name: "lora", targets: ["q_proj", "lm_head"], trainableTokens: [97, 98] },
  ],
  ["whole modules", "tied", { name: "lora", modulesToSave: ["embed_tokens", "lm_head"] }],
  ["a LoRA of the embedding", "tied", { name: "lora", targets: ["q_proj", "embed_tokens"] }],
];

describe.each(METHODS)("an adapter that trains %s", (_name, kind, method) => {
  it("gives the same on its base and merged, with tokens of its own", async () => {
    const [out, merged] = [join(scratch, "adapter"), join(scratch, "merged")];
    for (const folder of [out, merged]) await rm(folder, { recursive: true, force: true });
    const inputIds = [[84, 3, 97, 3, 98, 3, 93]];
    const batch = { inputIds, labels: inputIds };
    const trained = await loadModel(bases[kind], { threads: 1, tokens: TOKENS, method });
    const before = (await trained.forward({ inputIds })).logits.data;
    for (let step = 0; step < 2; step++) await trained.trainStep(batch, { learningRate: 1e-2 });
    const { data: expected } = (await trained.forward({ inputIds })).logits;
    expect(expected).not.toEqual(before);
    await trained.saveAdapter(out);
    await trained.dispose();

    const again = await loadModel(bases[kind], { threads: 1, adapter: out });
    expect((await again.forward({ inputIds })).logits.data).toEqual(expected);
    expect((await again.loadTokenizer()).encode("<call>")).toEqual([98]);
    await again.merge(merged);
    await again.dispose();

    const whole = await loadModel(merged, { threads: 1 });
    const { data: ofMerged } = (await whole.forward({ inputIds })).logits;
    expected.forEach((value, i) => {
      expect(Math.abs(value - ofMerged[i]!)).toBeLessThan(2e-5);
    });
    expect((await whole.loadTokenizer()).encode("abc")).toEqual([97]);
    await whole.dispose();
  });
});

it("rows that PEFT leaves out of an adapter's file are told of", async () => {
  const folder = join(import.meta.dirname, "../../tests/parity/cases/lora");
  const warningsOf = async (name: string, kind: keyof typeof bases) => {
    const warnings: string[] = [];
    const adapter = join(folder, name, "adapter");
    const onWarning = (warning: string) => warnings.push(warning);
    await (await openModel(bases[kind], { threads: 1, adapter, onWarning })).dispose();
    return warnings.join();
  };
  const lacks = "adapter: the file lacks";
  expect(await warningsOf("grown-embedding-lora", "untied")).toMatch(`${lacks} lm_head.weight for`);
  expect(await warningsOf("grown-head-lora", "untied")).toMatch(
    `${lacks} model.embed_tokens.weight`,
  );
  expect(await warningsOf("grown-rows", "untied")).not.toMatch(lacks);
});

it("a recipe trains the rows of its new tokens, and the adapter needs nothing beside it", async () => {
  const output = join(scratch, "run");
  const recipe = {
    model: { path: bases.untied },
    data: { train: data },
    tokens: { special: ["say"] },
    method: { name: "lora" as const, rank: 2 },
    train: { maxSteps: 2, batchSize: 2 },
    output,
  };
  const prepared = await prepare(recipe);
  await prepared.checkpoint.close();
  expect(prepared.recipe.method).toMatchObject({
    trainableTokens: { embed_tokens: [97], lm_head: [97] },
  });
  for await (const _ of train(recipe));
  const adapter = join(output, "adapter");
  const config = JSON.parse(await readFile(join(adapter, "adapter_config.json"), "utf8"));
  expect(config.trainable_token_indices).toEqual({ embed_tokens: [97], lm_head: [97] });
  const conversation = await openConversation({ model: bases.untied, adapter });
  expect(conversation.tokenizer.encode("say")).toEqual([97]);
  let text = "";
  for await (const piece of conversation.answer([{ role: "user", content: "say 1" }], {
    maxNewTokens: 3,
  }))
    text += piece;
  expect(typeof text).toBe("string");
  await conversation.dispose();
});

describe("tokens about which nothing would be learned", () => {
  const recipe = (method: object) => ({
    model: { path: bases.tied },
    data: { train: data },
    tokens: TOKENS,
    method,
  });
  it.each([
    ["a method that trains no embedding", { name: "ia3" }],
    ["other rows", { name: "lora", trainableTokens: [5] }],
  ])("are refused: %s", (_name, method) =>
    expectFault(
      prepare(recipe(method) as Parameters<typeof prepare>[0]),
      /tokens: something is learned[\s\S]*trainableTokens: {"embed_tokens":\[97,98\]}/,
    ),
  );

  it("padding needs no training, but a file with a place for its row", async () => {
    const tokens = { padToken: "<nil>" };
    const plain = await loadModel(bases.tied, { threads: 1, tokens, method: { name: "ia3" } });
    await plain.dispose();
    await expectFault(
      loadModel(bases.tied, { threads: 1, tokens, method: { name: "prompt" } as MethodOptions }),
      /tokens: an adapter for more tokens keeps[\s\S]*use method lora or full/,
    );
  });

  it("are told of where they are half trained", async () => {
    const warnings: string[] = [];
    const prepared = await prepare(
      {
        ...recipe({ name: "lora", trainableTokens: [97, 98] }),
        model: { path: bases.untied },
      } as Parameters<typeof prepare>[0],
      { onWarning: (warning) => warnings.push(warning) },
    );
    await prepared.checkpoint.close();
    expect(warnings.join()).toMatch(/nothing of lm_head is trained/);
  });
});
