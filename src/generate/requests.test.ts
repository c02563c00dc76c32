// Requests that join and leave: each is answered as it is alone, whoever else is there, and waits where
// there is no room.

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EngineModel, openModel } from "../engine/load.ts";
import { TunesmithError } from "../errors.ts";
import type { FinishedReply, TextPiece } from "./reply.ts";
import {
  createRequests,
  type GenerationRequest,
  type GenerativeModel,
  type Requests,
} from "./requests.ts";
import { letters } from "./testing/letters.ts";

const CASES = join(import.meta.dirname, "../../tests/parity/cases");
const ids = (count: number, seed: number) =>
  Array.from({ length: count }, (_, i) => (i * i * 7 + i * 13 + seed * 31) % 90);

/** Unequal prompts, unequal replies, greedy and drawn. */
const MANY: readonly GenerationRequest[] = Array.from({ length: 9 }, (_, i) => ({
  inputIds: ids([3, 19, 1, 8, 30, 5, 2, 12, 24][i]!, i),
  maxNewTokens: [9, 2, 14, 1, 6, 11, 3, 16, 4][i]!,
  ignoreEos: true,
  ...(i % 3 === 2 && { temperature: 1.5, topK: 40, seed: i }),
  ...(i === 4 && { logProbabilities: 2 }),
}));

let model: EngineModel;
beforeAll(async () => {
  model = await openModel(join(CASES, "llama/base/model"), { threads: 1 });
  for (const name of ["q-v", "all-linear", "rslora"])
    await model.adapters.load(name, join(CASES, "lora", name, "adapter"));
  await model.adapters.load("prefix", join(CASES, "prompts/prefix-projection/adapter"));
});
afterAll(() => model.dispose());

const alone = (request: GenerationRequest, own: GenerativeModel = model): Promise<FinishedReply> =>
  createRequests({ model: own, tokenizer: letters }, { maxBatch: 1 }).submit(request).finished;

async function expectAsAlone(
  requests: Requests,
  asked: readonly GenerationRequest[],
  own: GenerativeModel = model,
): Promise<void> {
  const replies = asked.map((request) => requests.submit(request).finished);
  for (const [i, request] of asked.entries()) {
    const [together, single] = [await replies[i]!, await alone(request, own)];
    expect(together.tokenIds, `request ${i}`).toEqual(single.tokenIds);
    expect(together.text).toBe(single.text);
    expect(together.tokenIds).toHaveLength(request.maxNewTokens!);
    expect(together.logProbabilities?.length).toBe(single.logProbabilities?.length);
    together.logProbabilities?.forEach(({ logProbability }, t) => {
      expect(logProbability).toBeCloseTo(single.logProbabilities![t]!.logProbability, 4);
    });
  }
  expect([requests.running, requests.waiting]).toEqual([0, 0]);
}

describe("whoever joins and leaves, a request is answered as it is alone", () => {
  it.each([2, 3, 4])("in batches of at most %i", (maxBatch) =>
    expectAsAlone(createRequests({ model, tokenizer: letters }, { maxBatch }), MANY),
  );

  it("when it comes while others are being answered", async () => {
    const requests = createRequests({ model, tokenizer: letters }, { maxBatch: 3 });
    const first = requests.submit({ ...MANY[0]!, maxNewTokens: 20 });
    const late: Promise<FinishedReply>[] = [];
    let seen = 0;
    for await (const _ of first)
      if (++seen % 4 === 0) late.push(requests.submit(MANY[late.length + 1]!).finished);
    expect(seen).toBe(20);
    expect(late).toHaveLength(5);
    for (const [i, reply] of late.entries())
      expect((await reply).tokenIds).toEqual((await alone(MANY[i + 1]!)).tokenIds);
    expect((await first.finished).tokenIds).toEqual(
      (await alone({ ...MANY[0]!, maxNewTokens: 20 })).tokenIds,
    );
  });

  it("with an adapter of its own, one that goes beside no other included", async () => {
    const choices = ["q-v", null, "all-linear", "prefix", { "q-v": 0.5, rslora: 0.5 }, "q-v"];
    const asked = choices.map((adapter, i) => ({ ...MANY[i]!, adapter }));
    await expectAsAlone(createRequests({ model, tokenizer: letters }, { maxBatch: 3 }), asked);
    const [based, adapted] = [
      await alone(asked[1]!),
      await alone({ ...asked[1]!, adapter: "q-v" }),
    ];
    expect(based.tokenIds).not.toEqual(adapted.tokenIds);
  });

  it.each([
    ["behind virtual tokens", "llama/base/model", "prompts/p-tuning-mlp/adapter"],
    ["under gates, which read whole rows again", "llama/base/model", "adapterhub/unipelt/adapter"],
    ["across the switch of rotary tables", "architectures/phi3/model", undefined],
    ["with a window", "architectures/gemma2/model", undefined],
  ])("%s", async (_, path, adapter) => {
    const own = await openModel(join(CASES, path), {
      threads: 1,
      ...(adapter && { adapter: join(CASES, adapter) }),
    });
    const some = MANY.slice(0, 5).map((request) => ({ ...request, temperature: 0 }));
    await expectAsAlone(
      createRequests({ model: own, tokenizer: letters }, { maxBatch: 3 }),
      some,
      own,
    );
    await own.dispose();
  });
});

it("computes the rows that go on, and no others", async () => {
  const sizes: number[] = [];
  const runtime: EngineModel["runtime"] = {
    ...model.runtime,
    async compile(outputs, given, held) {
      const kernel = await model.runtime.compile(outputs, given, held);
      return {
        run(inputs, into) {
          if (outputs.length > 1) sizes.push(inputs[0]!.dims[0]!);
          return kernel.run(inputs, into);
        },
      };
    },
  };
  const requests = createRequests(
    { model: { ...model, runtime, adapters: undefined } },
    { maxBatch: 4 },
  );
  const counts = [2, 3, 5, 7];
  const asked = counts.map((maxNewTokens, i) => ({
    inputIds: ids(9, i),
    maxNewTokens,
    ignoreEos: true,
  }));
  await Promise.all(asked.map((request) => requests.submit(request).finished));
  // Prompts alone, padded to 16; then 4, 3, 2, 2, 1 and 1 rows, at the sizes that there are kernels for.
  expect(sizes).toEqual([16, 16, 16, 16, 4, 4, 2, 2, 1, 1]);
});

describe("room", () => {
  it("is waited for, in order", async () => {
    const requests = createRequests({ model }, { maxBatch: 2 });
    const order: number[] = [];
    const replies = [6, 2, 2, 2].map((maxNewTokens, i) =>
      requests
        .submit({ inputIds: ids(4, i), maxNewTokens, ignoreEos: true })
        .finished.then(() => order.push(i)),
    );
    expect(requests.waiting).toBe(4);
    await Promise.all(replies);
    expect(order).toEqual([1, 2, 0, 3]);
  });

  it("is what keys and values may take", async () => {
    const { layers, keyValueHeads, headSize } = model.architecture.dimensions;
    const position = layers * keyValueHeads * Math.ceil(headSize / 8) * 8 * 2 * 4;
    const most = 64 * position; // one row of the model's whole context
    const requests = createRequests(
      { model, tokenizer: letters },
      { maxBatch: 4, cacheBytes: most },
    );
    const together: number[] = [];
    const replies = MANY.slice(0, 4).map((request) => requests.submit(request));
    for (const reply of replies) for await (const _ of reply) together.push(requests.running);
    expect(Math.max(...together)).toBe(1);
    const small = createRequests({ model }, { cacheBytes: most / 2 });
    await expect(small.submit(MANY[0]!).finished).rejects.toThrow(
      /cacheBytes[\s\S]*raise cacheBytes/,
    );
  });
});

describe("an end before the end", () => {
  const endless = (signal?: AbortSignal): GenerationRequest => ({
    inputIds: ids(4, 1),
    maxNewTokens: 50,
    ignoreEos: true,
    signal,
  });

  it("by a signal, while it is answered or waits, leaves others as they are", async () => {
    const requests = createRequests({ model, tokenizer: letters }, { maxBatch: 2 });
    const [running, waiting] = [new AbortController(), new AbortController()];
    const first = requests.submit(endless(running.signal));
    const second = requests.submit(MANY[7]!);
    const third = requests.submit(endless(waiting.signal));
    const fourth = requests.submit(MANY[2]!);
    const pieces: TextPiece[] = [];
    for await (const piece of first) {
      pieces.push(piece);
      if (pieces.length === 3) running.abort(new Error("enough"));
      if (pieces.length === 2) waiting.abort(new Error("not any more"));
    }
    expect(pieces).toHaveLength(3);
    await expect(first.finished).rejects.toThrow("enough");
    await expect(third.finished).rejects.toThrow("not any more");
    expect((await second.finished).tokenIds).toEqual((await alone(MANY[7]!)).tokenIds);
    expect((await fourth.finished).tokenIds).toEqual((await alone(MANY[2]!)).tokenIds);
  });

  it("by leaving its loop, makes room", async () => {
    const requests = createRequests({ model }, { maxBatch: 1 });
    const reply = requests.submit(endless());
    const next = requests.submit({ inputIds: ids(3, 2), maxNewTokens: 2, ignoreEos: true });
    for await (const _ of reply) break;
    await expect(reply.finished).rejects.toThrow("Nobody reads");
    expect((await next.finished).tokenIds).toHaveLength(2);
  });

  it("by a stop string ends that request alone", async () => {
    const free = await alone(MANY[7]!);
    const stop = free.text.slice(4, 6);
    const requests = createRequests({ model, tokenizer: letters }, { maxBatch: 2 });
    const [stopped, other] = [{ ...MANY[7]!, stopStrings: [stop] }, MANY[5]!].map((request) =>
      requests.submit(request),
    );
    const { text, stoppedBecause } = await stopped!.finished;
    expect([text, stoppedBecause]).toEqual([
      free.text.slice(0, free.text.indexOf(stop)),
      "stop-string",
    ]);
    expect((await other!.finished).tokenIds).toHaveLength(11);
  });
});

it("what cannot be answered fails alone, and says why", async () => {
  const requests = createRequests({ model }, { maxBatch: 2 });
  const good = requests.submit({ inputIds: ids(3, 2), maxNewTokens: 4, ignoreEos: true });
  const bad: [Partial<GenerationRequest>, RegExp][] = [
    [{ inputIds: [] }, /at least one token/],
    [{ inputIds: [5000] }, /between 0 and 96/],
    [{ topP: 3 }, /topP/],
    [{ stopStrings: ["x"] }, /tokenizer/],
    [{ adapter: "q-w" }, /nearest is "q-v"/],
    [{ maxNewTokens: 64 }, /context of 64/],
  ];
  for (const [options, message] of bad) {
    const reply = requests.submit({ inputIds: [1, 2], maxNewTokens: 4, ...options });
    const error = await reply.finished.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TunesmithError);
    expect(String(error)).toMatch(message);
    await expect(reply[Symbol.asyncIterator]().next()).rejects.toThrow(message);
  }
  expect((await good.finished).tokenIds).toHaveLength(4);
  expect(() => createRequests({ model }, { maxBatch: 0 })).toThrow(/maxBatch/);
});
