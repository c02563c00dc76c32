// Labelled records on their way to batches: any format's, from memory and from a stream.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Batch } from "../engine/batch.ts";
import type { ReadLabel } from "./label-column.ts";
import { labelsIn } from "./label-column.ts";
import { type DatasetOptions, loadDataset } from "./load.ts";
import { fakeChat, fakeTokenizer } from "./testing/fake-tokenizer.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-labels-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function write(name: string, records: readonly unknown[]): Promise<string> {
  await writeFile(join(folder, name), records.map((each) => JSON.stringify(each)).join("\n"));
  return join(folder, name);
}

const tokenizer = fakeTokenizer();
const readLabel: ReadLabel = (value) => [Number(value)];
const load = (train: string, options: Partial<DatasetOptions> = {}) =>
  loadDataset(
    { train, readLabel, maxLength: 16, batchSize: 2, seed: 1, shuffle: false, ...options },
    tokenizer,
    fakeChat,
  );

/** Every row's text with its label. */
async function rowsOf(data: Awaited<ReturnType<typeof load>>): Promise<[string, number[]][]> {
  const batches: Batch[] = [];
  for await (const batch of data.train.epoch(0)) batches.push(batch);
  for (const batch of batches) expect(batch.labels).toBeUndefined();
  return batches.flatMap(({ inputIds, attentionMask, rowLabels }) =>
    inputIds.map((row, b): [string, number[]] => [
      tokenizer.decode(row.filter((_, t) => attentionMask![b]![t] === 1)),
      [...rowLabels![b]!],
    ]),
  );
}

it.each([false, true])(
  "goes with texts, which get no end token (streaming: %s)",
  async (streaming) => {
    const train = await write("texts.jsonl", [
      { text: "abc", label: 1 },
      { text: "de", label: 0 },
      { text: "fgh", label: 2 },
    ]);
    const data = await load(train, { streaming });
    expect(data.report).toMatchObject({ samples: 3, targets: 3, untargeted: 0, format: "text" });
    expect((await rowsOf(data)).sort()).toEqual([
      ["<s>abc", [1]],
      ["<s>de", [0]],
      ["<s>fgh", [2]],
    ]);
  },
);

it("goes with conversations and with answers to prompts", async () => {
  const chats = await write("chats.jsonl", [
    { messages: [{ role: "user", content: "hi" }], label: 1 },
  ]);
  expect(await rowsOf(await load(chats, { maxLength: 64 }))).toEqual([
    [expect.stringContaining("hi"), [1]],
  ]);
  const answers = await write("answers.jsonl", [{ prompt: "ab", completion: "cd", label: 0.5 }]);
  expect(await rowsOf(await load(answers))).toEqual([["<s>abcd", [0.5]]]);
});

it("may have another name, and copies stay on one side whatever their labels", async () => {
  const records = Array.from({ length: 30 }, (_, i) => ({ body: `t${i % 10}`, mood: i % 3 }));
  const train = await write("moods.jsonl", records);
  const data = await load(train, { columns: { text: "body", label: "mood" }, eval: 0.3 });
  expect(data.report.samples + data.report.eval!.samples).toBe(30);
  expect(data.report.samples % 3).toBe(0);
  expect(data.report.evalInTrain).toBe(0);
  const found: unknown[] = [];
  for await (const { value } of labelsIn(train, "train", { columns: { label: "mood" } }))
    found.push(value);
  expect(found).toEqual(records.map(({ mood }) => mood));
});

it("is missed with file and line", async () => {
  const train = await write("missing.jsonl", [{ text: "a", label: 1 }, { text: "b" }]);
  await expect(load(train)).rejects.toThrow(/missing\.jsonl:2: every record has a label/);
  const empty = await write("empty.jsonl", [{ text: "a", label: null }]);
  await expect(load(empty)).rejects.toThrow("no value in label");
});

it("is of the whole text: what is too long is refused, cut where that is asked for", async () => {
  const train = await write("long.jsonl", [{ text: "abcdefgh".repeat(4), label: 1 }]);
  await expect(load(train)).rejects.toThrow("at most 16 tokens");
  const cut = await load(train, { truncation: "keep_start" });
  expect(await rowsOf(cut)).toEqual([["<s>abcdefghabcdefg", [1]]]);
});
