// Decoding with a cache gives what the full forward pass gives, whatever the cache goes through:
// growth, chunks, rows of unequal length, rows that rest, truncation, adapters.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type EngineModel, openModel } from "../load.ts";
import { createDecoder, type DecoderOptions } from "./decoder.ts";

const CASES = join(import.meta.dirname, "../../../tests/parity/cases");
const BASE = join(CASES, "llama/base/model");
const [NO_ADAPTER, PROMPT, PREFIX] = ["the base", "p-tuning-mlp", "prefix-projection"] as const;
const adapterFolder = (name: string) =>
  name === NO_ADAPTER ? undefined : join(CASES, "prompts", name, "adapter");
/** Ids of a made-up text, all within the base model's vocabulary. */
const tokens = (count: number, seed = 1) =>
  Array.from({ length: count }, (_, i) => (i * i * 7 + i * 13 + seed * 31) % 90);

async function withModel(
  path: string,
  adapter: string | undefined,
  use: (model: EngineModel) => Promise<void>,
): Promise<void> {
  const model = await openModel(path, { ...(adapter ? { adapter } : {}), threads: 1 });
  try {
    await use(model);
  } finally {
    await model.dispose();
  }
}

/** Logits of the position after each prefix of `ids`, from one full pass. */
async function fullLogits(model: EngineModel, ids: number[]): Promise<Float32Array[]> {
  const { logits } = await model.forward({ inputIds: [ids] });
  const width = logits.shape[2]!;
  return ids.map((_, t) => logits.data.slice(t * width, (t + 1) * width));
}

function expectEqual(seen: Float32Array | undefined, wanted: Float32Array | undefined): void {
  if (!seen || !wanted) throw new Error("logits are missing");
  let largest = 0;
  let difference = 0;
  for (let i = 0; i < wanted.length; i++) {
    largest = Math.max(largest, Math.abs(wanted[i]!));
    difference = Math.max(difference, Math.abs(wanted[i]! - seen[i]!));
  }
  expect(seen.length).toBe(wanted.length);
  expect(difference / largest).toBeLessThan(2e-5);
}

async function expectStepsMatch(model: EngineModel, options: DecoderOptions): Promise<void> {
  // Dynamic scaling changes all rotations beyond the context, which no cache can follow.
  const { maximumPositions, vocabularySize } = model.architecture.dimensions;
  const ids = tokens(Math.min(40, maximumPositions)).map((id) => id % vocabularySize);
  const wanted = await fullLogits(model, ids);
  const decoder = createDecoder(model, options);
  const prompt = Math.floor(ids.length / 2);
  let [logits] = await decoder.append([ids.slice(0, prompt)]);
  expectEqual(logits, wanted[prompt - 1]);
  for (let t = prompt; t < ids.length; t++) {
    [logits] = await decoder.append([[ids[t]!]]);
    expectEqual(logits, wanted[t]);
  }
  expect(decoder.lengths).toEqual([ids.length]);
}

it("under gates each step reads its whole row again, without the padding beside it", () =>
  withModel(BASE, join(CASES, "adapterhub/unipelt/adapter"), async (model) => {
    const lastOf = async (ids: number[]) => (await fullLogits(model, ids)).at(-1);
    const [long, short] = [tokens(20), tokens(5, 2)];
    const decoder = createDecoder(model, { batch: 2 });
    let [first, second] = await decoder.append([long.slice(0, 18), short.slice(0, 3)]);
    expectEqual(first, await lastOf(long.slice(0, 18)));
    expectEqual(second, await lastOf(short.slice(0, 3)));
    [first, second] = await decoder.append([[], short.slice(3, 4)]);
    expect(first).toBeUndefined();
    expectEqual(second, await lastOf(short.slice(0, 4)));
    decoder.truncate(0, 7);
    [first, second] = await decoder.append([long.slice(7, 8), short.slice(4, 5)]);
    expectEqual(first, await lastOf(long.slice(0, 8)));
    expectEqual(second, await lastOf(short));
    expect(decoder.lengths).toEqual([8, 5]);
    // What makes keeping anything impossible: earlier positions change with later ones.
    const [before, after] = [
      await fullLogits(model, long.slice(0, 8)),
      await fullLogits(model, long),
    ];
    expect(() => expectEqual(after[3], before[3])).toThrow();
  }));

it("a text that grows beyond the switch of its rotary tables is read again with the others", () =>
  withModel(join(CASES, "architectures/phi3/model"), undefined, async (model) => {
    const { rotarySwitch } = model.architecture.dimensions;
    expect(rotarySwitch).toBe(20);
    const lastOf = async (ids: number[]) => (await fullLogits(model, ids)).at(-1);
    const [long, short] = [tokens(23), tokens(9, 2)];
    const decoder = createDecoder(model, { batch: 2 });
    await decoder.append([long.slice(0, 18), short]);
    for (let length = 19; length <= 23; length++) {
      const [first, second] = await decoder.append([long.slice(length - 1, length), []]);
      expectEqual(first, await lastOf(long.slice(0, length)));
      expect(second).toBeUndefined();
    }
    decoder.truncate(0, 8);
    const [back] = await decoder.append([long.slice(8, 12), []]);
    expectEqual(back, await lastOf(long.slice(0, 12)));
  }));

describe("a decoder's logits are those of the full pass", () => {
  const cases = readdirSync(join(CASES, "llama")).map((name) => `llama/${name}`);
  const adapted = [
    ...["q-v", "all-linear", "bias-all", "save-embeddings", "save-head"],
    ...["target-tied", "dora-embeddings", "tokens-tied", "tokens-apart"],
  ];
  const prompts = ["prompt", "prefix", "prefix-projection", "p-tuning-mlp", "p-tuning-lstm"];
  it.each([
    ...cases,
    ...adapted.map((name) => `lora/${name}`),
    ...prompts.map((name) => `prompts/${name}`),
    ...["double-seq-bn", "invertible-output", "mam", "prefix-flat", "fusion-dynamic"].map(
      (name) => `adapterhub/${name}`,
    ),
  ])("for %s", (name) => {
    const folder = join(CASES, name);
    const stored = JSON.parse(readFileSync(join(folder, "case.json"), "utf8"));
    const adapter = stored.adapter && join(folder, stored.adapter);
    return withModel(join(folder, stored.model), adapter, (model) => expectStepsMatch(model, {}));
  });

  const alone = [{ capacity: 4 }, { chunk: 5 }, { capacity: 7, chunk: 3 }, { chunk: 2 }];
  it.each<[string, DecoderOptions]>(
    [NO_ADAPTER, PROMPT, PREFIX].flatMap((adapter) =>
      alone.map((options): [string, DecoderOptions] => [adapter, options]),
    ),
  )("with %s and %j: growth in mid-decode, prompts longer than a chunk", (adapter, options) =>
    withModel(BASE, adapterFolder(adapter), (model) => expectStepsMatch(model, options)),
  );

  it.each([NO_ADAPTER, PROMPT, PREFIX])(
    "in a batch of unequal rows, some of which rest: %s",
    (adapter) =>
      withModel(BASE, adapterFolder(adapter), async (model) => {
        const rows = [tokens(30, 1), tokens(12, 2), tokens(21, 3)];
        const wanted = await Promise.all(rows.map((ids) => fullLogits(model, ids)));
        const decoder = createDecoder(model, { batch: 3, capacity: 8, chunk: 10 });
        const cut = [14, 3, 21];
        let logits = await decoder.append(rows.map((ids, b) => ids.slice(0, cut[b])));
        logits.forEach((row, b) => {
          expectEqual(row, wanted[b]![cut[b]! - 1]);
        });
        for (let step = 0; step < 9; step++) {
          logits = await decoder.append(
            rows.map((ids, b) => ids.slice(cut[b]! + step, cut[b]! + step + 1)),
          );
          logits.forEach((row, b) => {
            const position = cut[b]! + step;
            if (position < rows[b]!.length) expectEqual(row, wanted[b]![position]);
            else expect(row).toBeUndefined();
          });
        }
      }),
  );

  it.each([NO_ADAPTER, PROMPT, PREFIX])("after truncation to a common beginning: %s", (adapter) =>
    withModel(BASE, adapterFolder(adapter), async (model) => {
      const first = tokens(20, 1);
      const decoder = createDecoder(model);
      for (const kept of [9, 0]) {
        await decoder.append([first.slice(decoder.lengths[0])]);
        decoder.truncate(0, kept);
        expect(decoder.lengths).toEqual([kept]);
        const second = [...first.slice(0, kept), ...tokens(10, 5)];
        const [logits] = await decoder.append([second.slice(kept)]);
        expectEqual(logits, (await fullLogits(model, second)).at(-1));
        decoder.truncate(0, kept);
      }
    }),
  );

  it("where a row begins when others have long begun", () =>
    withModel(BASE, adapterFolder(PROMPT), async (model) => {
      const [early, late] = [tokens(12, 1), tokens(7, 2)];
      const decoder = createDecoder(model, { batch: 2, chunk: 4 });
      await decoder.append([early.slice(0, 9), []]);
      expect(decoder.lengths).toEqual([9, 0]);
      const logits = await decoder.append([early.slice(9), late]);
      expectEqual(logits[0], (await fullLogits(model, early)).at(-1));
      expectEqual(logits[1], (await fullLogits(model, late)).at(-1));
    }));
});

it("refuses ids outside the vocabulary", () =>
  withModel(BASE, undefined, async (model) => {
    await expect(createDecoder(model).append([[97]])).rejects.toThrow(/between 0 and 96/);
  }));
