import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Batch, countTargets } from "../engine/batch.ts";
import { TunesmithError } from "../errors.ts";
import { casePath } from "../hub/testing/cases.ts";
import { encodeChat } from "../hub/tokenizers/chat-template.ts";
import { loadTokenizerFolder } from "../hub/tokenizers/tokenizer.ts";
import type { BatchSource } from "./batch-source.ts";
import { type DatasetOptions, loadDataset } from "./load.ts";
import { fakeChat, fakeTokenizer } from "./testing/fake-tokenizer.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-load-"));
});
afterAll(() => rm(folder, { recursive: true }));

let files = 0;
async function write(records: unknown[], name = `${files++}.jsonl`): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, records.map((record) => `${JSON.stringify(record)}\n`).join(""));
  return path;
}

const tokenizer = fakeTokenizer();
const load = (options: Partial<DatasetOptions> & { train: DatasetOptions["train"] }) =>
  loadDataset({ maxLength: 64, batchSize: 4, seed: 1, ...options }, tokenizer, fakeChat);

async function batchesOf(source: BatchSource | undefined, epoch = 0): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of source!.epoch(epoch)) batches.push(batch);
  return batches;
}

/** The texts of all rows, in alphabetical order. */
async function textsOf(source: BatchSource | undefined): Promise<string[]> {
  const batches = await batchesOf(source);
  return batches
    .flatMap(({ inputIds, attentionMask }) =>
      inputIds.map((row, index) =>
        tokenizer.decode(row.filter((_, at) => attentionMask![index]![at] === 1)),
      ),
    )
    .sort();
}

const records = Array.from({ length: 40 }, (_, i) => ({
  prompt: `question ${i} `,
  completion: "answer".slice(0, 1 + (i % 6)),
}));
const texts = records.map(({ prompt, completion }) => `<s>${prompt}${completion}</s>`).sort();

describe("loadDataset", () => {
  it("reports what there is", async () => {
    const train = await write(records);
    const { report, ...data } = await load({ train });
    expect(report).toMatchObject({
      files: [train],
      format: "completion",
      records: 40,
      samples: 40,
      truncated: 0,
      streaming: false,
      complete: true,
      evalInTrain: 0,
    });
    const batches = await batchesOf(data.train);
    const targets = batches.reduce((sum, { labels }) => sum + countTargets(labels!), 0);
    expect(targets).toBe(report.targets);
    const tokens = batches.flatMap(({ attentionMask }) => attentionMask!.flat());
    expect(tokens.filter((value) => value === 1)).toHaveLength(report.tokens);
    expect(report.lengths.reduce((sum, { samples }) => sum + samples, 0)).toBe(40);
    expect(data.eval).toBeUndefined();
    expect(await textsOf(data.train)).toEqual(texts);
  });

  it("streams the same samples as it holds in memory, split alike in kind", async () => {
    const train = await write(records);
    for (const streaming of [true, false]) {
      const data = await load({ train, streaming, eval: 0.2, packing: true });
      expect(data.report.streaming).toBe(streaming);
      const targets = async (source: BatchSource | undefined) =>
        (await batchesOf(source)).reduce((sum, { labels }) => sum + countTargets(labels!), 0);
      const whole = records.reduce((sum, { completion }) => sum + completion.length + 1, 0);
      expect((await targets(data.train)) + (await targets(data.eval))).toBe(whole);
    }
  });

  it.each([true, false])(
    "holds out by content: copies never leak (streaming: %s)",
    async (streaming) => {
      const train = await write([...records, ...records, ...records]);
      for (const amount of [0.25, 30]) {
        const data = await load({ train, eval: amount, streaming });
        const [trained, held] = [await textsOf(data.train), await textsOf(data.eval)];
        expect(held.length).toBeGreaterThan(0);
        expect([...trained, ...held].sort()).toEqual([...texts, ...texts, ...texts].sort());
        expect(trained.filter((text) => held.includes(text))).toEqual([]);
        if (!streaming || amount > 1) expect(held).toHaveLength(30);
        const other = await load({ train, eval: amount, streaming, seed: 99 });
        expect(await textsOf(other.eval)).toEqual(held);
      }
    },
  );

  it("evaluates on a file of its own, and says what it shares with the training data", async () => {
    const train = await write(records);
    const held = await write([{ text: "new" }, { text: "newer" }]);
    const data = await load({ train, eval: held });
    expect(await textsOf(data.eval)).toEqual(["<s>new</s>", "<s>newer</s>"]);
    expect(data.report.eval).toMatchObject({ samples: 2 });
    const leaking = await write([...records.slice(0, 3), { prompt: "p", completion: "c" }]);
    expect((await load({ train, eval: leaking })).report.evalInTrain).toBe(3);
  });

  it("evaluates in the same order every time", async () => {
    const { eval: held } = await load({ train: await write(records), eval: 20 });
    expect(await batchesOf(held, 3)).toEqual(await batchesOf(held, 0));
  });

  it("hands out the samples in the order of the files", async () => {
    const train = [await write(records.slice(0, 2)), await write(records.slice(2, 4))];
    for (const streaming of [true, false]) {
      const seen: string[] = [];
      for await (const { where } of (await load({ train, streaming })).samples()) seen.push(where);
      expect(seen).toEqual([`${train[0]}:1`, `${train[0]}:2`, `${train[1]}:1`, `${train[1]}:2`]);
    }
  });

  it("tells how far it is", async () => {
    const seen: number[] = [];
    const train = await write(Array.from({ length: 1100 }, (_, i) => ({ text: `${i}` })));
    await load({ train, onProgress: (count) => seen.push(count) });
    expect(seen).toEqual([500, 1000]);
  });
});

describe("truncation", () => {
  const long = [{ text: "short" }, { text: "x".repeat(200) }, { text: "y".repeat(100) }];
  it("splits plain texts by itself, and loses no target", async () => {
    const { report } = await load({ train: await write(long) });
    expect(report).toMatchObject({
      records: 3,
      samples: 1 + 4 + 2,
      split: 2,
      targets: 6 + 201 + 101,
    });
    expect(report.longest).toMatchObject({ tokens: 202 });
  });

  it("refuses long samples of other kinds by itself, naming the longest", async () => {
    const train = await write(long.map(({ text }) => ({ prompt: "p", completion: text })));
    for (const streaming of [true, false])
      await expect(load({ train, streaming })).rejects.toThrow(
        `${train}:2: a sample is at most 64 tokens long\n  saw: 203 tokens; 2 samples`,
      );
  });

  it("refuses a long sample far into a stream when it comes to it", async () => {
    const many = Array.from({ length: 1500 }, () => ({ prompt: "p", completion: "c" }));
    const train = await write([...many, { prompt: "p", completion: "x".repeat(99) }]);
    const data = await load({ train, streaming: true });
    expect(data.report).toMatchObject({ complete: false, records: 1000 });
    await expect(batchesOf(data.train)).rejects.toThrow(`${train}:1501: a sample is at most 64`);
  });

  it("counts what it cuts, drops and leaves out", async () => {
    const train = await write(long);
    expect((await load({ train, truncation: "keep_start" })).report).toMatchObject({
      samples: 3,
      truncated: 2,
    });
    expect((await load({ train, truncation: "drop" })).report).toMatchObject({
      samples: 1,
      dropped: 2,
    });
    const prompts = await write([
      { prompt: "x".repeat(90), completion: "y" },
      { prompt: "x", completion: "y" },
    ]);
    expect((await load({ train: prompts, truncation: "keep_start" })).report).toMatchObject({
      samples: 1,
      untargeted: 1,
    });
  });
});

describe("bad input", () => {
  const fails = async (options: Parameters<typeof load>[0], message: string | RegExp) => {
    const promise = load(options);
    await expect(promise).rejects.toThrow(TunesmithError);
    await expect(promise).rejects.toThrow(message);
  };

  it("an empty dataset, before and after cuts", async () => {
    const empty = await write([]);
    for (const streaming of [true, false])
      for (const held of [0, 0.1])
        await fails({ train: empty, streaming, eval: held }, "a dataset holds at least one record");
    await fails({ train: await write(records), eval: empty }, `${empty}: a dataset holds`);
    const train = await write([{ prompt: "x".repeat(90), completion: "y" }]);
    await fails({ train, truncation: "drop" }, /1 records, 1 of them too long and dropped/);
    await fails({ train, truncation: "keep_start" }, /1 with nothing to train on/);
  });

  it("a malformed line, by file and line", async () => {
    const train = await write(records);
    await writeFile(train, '{"text":"a"}\n{"text":\n');
    await fails({ train }, `${train}:2: a record must be valid JSON`);
  });

  it("nothing to hold out, and impossible amounts", async () => {
    const train = await write([{ text: "a" }]);
    await fails({ train, eval: 0.5 }, "at least one example");
    await fails({ train, eval: -1 }, "data.eval");
  });
});

it("makes batches of real chats with a real tokenizer, packed and unpacked alike", async () => {
  const real = await loadTokenizerFolder(casePath("tokenizer/byte-level"));
  const train = await write(
    Array.from({ length: 25 }, (_, i) => ({
      messages: [
        { role: "user", content: `What is ${i} times ${i}? ${"Think. ".repeat(i % 7)}` },
        { role: "assistant", content: `It is ${i * i}.` },
      ],
    })),
  );
  const run = async (packing: boolean) => {
    const options = { train, maxLength: 256, batchSize: 3, seed: 2, packing };
    const data = await loadDataset(options, real, encodeChat);
    const trained: number[] = [];
    for (const { labels } of await batchesOf(data.train))
      for (const row of labels!) trained.push(...row.filter((label) => label !== -100));
    return { trained, data };
  };
  const [packed, plain] = [await run(true), await run(false)];
  expect(packed.trained.sort()).toEqual(plain.trained.sort());
  expect(packed.trained).toHaveLength(plain.data.report.targets);
  expect(packed.data.train.batchesPerEpoch).toBeLessThan(plain.data.train.batchesPerEpoch!);
  const first = (await plain.data.samples()[Symbol.asyncIterator]().next()).value!;
  expect(real.decode(first.labels.filter((label: number) => label !== -100)).trim()).toBe(
    "It is 0.<|im_end|>",
  );
});
