// Generation end to end on a tiny model: greedy equals the argmax of full passes, batches equal their
// rows, sequences stop where they should, and faults come before any work.

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EngineModel, openModel } from "../engine/load.ts";
import { TunesmithError } from "../errors.ts";
import { generate } from "./generate.ts";
import { stopTokenIds, withModelDefaults } from "./options.ts";
import { likeliest } from "./score-processors.ts";
import { createTextStream } from "./stream-text.ts";
import { letters } from "./testing/letters.ts";

const CASES = join(import.meta.dirname, "../../tests/parity/cases");
const PROMPTS = [[5, 17, 33, 60], [71], [8, 9, 10, 44, 3, 90, 12]];
const SAMPLED = { temperature: 1.5, topK: 40, topP: 0.95, seed: 3 };

let model: EngineModel;
beforeAll(async () => {
  model = await openModel(join(CASES, "llama/base/model"), { threads: 1 });
});
afterAll(() => model.dispose());

const run = (inputIds: number[][], options = {}) =>
  generate(model, { inputIds, maxNewTokens: 12, ignoreEos: true, ...options });

async function collect(stream: AsyncIterable<{ text: string; tokenId: number }>) {
  let text = "";
  const tokenIds: number[] = [];
  for await (const piece of stream) {
    text += piece.text;
    tokenIds.push(piece.tokenId);
  }
  return { text, tokenIds };
}

it("tells how likely each token was, whatever chose it", async () => {
  const { tokenIds, logProbabilities } = await run(PROMPTS, { ...SAMPLED, logProbabilities: 2 });
  const ids = [...PROMPTS[0]!];
  for (const [i, tokenId] of tokenIds[0]!.entries()) {
    const { logits, loss } = await model.forward({
      inputIds: [[...ids, tokenId]],
      labels: [[...ids.map(() => -100), tokenId]],
    });
    const told = logProbabilities![0]![i]!;
    expect(told.tokenId).toBe(tokenId);
    expect(told.logProbability).toBeCloseTo(-loss!, 4);
    const before = logits.data.subarray(-2 * logits.shape[2]!, -logits.shape[2]!);
    expect(told.top[0]!.tokenId).toBe(likeliest(before));
    expect(told.top).toHaveLength(2);
    ids.push(tokenId);
  }
  expect((await run(PROMPTS)).logProbabilities).toBeUndefined();
});

describe("greedy", () => {
  it("takes the argmax of the full pass at every step", async () => {
    const { tokenIds, stoppedBecause } = await run(PROMPTS);
    expect(stoppedBecause).toEqual(["length", "length", "length"]);
    for (const [row, prompt] of PROMPTS.entries()) {
      const ids = [...prompt];
      for (const tokenId of tokenIds[row]!) {
        const { logits } = await model.forward({ inputIds: [ids] });
        expect(tokenId).toBe(likeliest(logits.data.subarray(-logits.shape[2]!)));
        ids.push(tokenId);
      }
      expect(ids.length).toBe(prompt.length + 12);
    }
  });

  it("gives each row of a batch what it gets alone", async () => {
    const together = await run(PROMPTS);
    for (const [row, prompt] of PROMPTS.entries())
      expect((await run([prompt])).tokenIds[0]).toEqual(together.tokenIds[row]);
  });
});

describe.each(["prompt", "prefix-projection", "p-tuning-lstm"])(
  "behind virtual tokens: %s",
  (name) => {
    let adapted: EngineModel;
    beforeAll(async () => {
      const adapter = join(CASES, "prompts", name, "adapter");
      adapted = await openModel(join(CASES, "llama/base/model"), { adapter, threads: 1 });
    });
    afterAll(() => adapted.dispose());

    it("takes the argmax of the full pass, for prompts of any lengths and in a stream", async () => {
      const greedy = { inputIds: PROMPTS, maxNewTokens: 12, ignoreEos: true };
      const { tokenIds } = await generate(adapted, greedy);
      const stream = createTextStream(adapted, letters);
      for (const [row, prompt] of PROMPTS.entries()) {
        const ids = [...prompt];
        for (const tokenId of tokenIds[row]!) {
          const { logits } = await adapted.forward({ inputIds: [ids] });
          expect(tokenId).toBe(likeliest(logits.data.subarray(-logits.shape[2]!)));
          ids.push(tokenId);
        }
        const streamed = await collect(stream.continue(prompt, { ...greedy }));
        expect(streamed.tokenIds).toEqual(tokenIds[row]);
      }
      expect(tokenIds).not.toEqual((await run(PROMPTS)).tokenIds);
    });

    it("counts them towards the context", async () => {
      const lasts = (maxNewTokens: number) =>
        generate(adapted, { inputIds: [[5, 17]], maxNewTokens, ignoreEos: true });
      expect((await lasts(64 - 2 - 3)).tokenIds[0]).toHaveLength(59);
      await expect(lasts(60)).rejects.toThrow(/context of 61 tokens[\s\S]*at most 59/);
    });
  },
);

describe("sampling", () => {
  it("repeats with the same seed and differs with another", async () => {
    const first = await run(PROMPTS, SAMPLED);
    expect((await run(PROMPTS, SAMPLED)).tokenIds).toEqual(first.tokenIds);
    expect((await run(PROMPTS, { ...SAMPLED, seed: 4 })).tokenIds).not.toEqual(first.tokenIds);
  });

  it("draws differently for equal prompts in a batch", async () => {
    const { tokenIds } = await run([PROMPTS[0]!, PROMPTS[0]!], SAMPLED);
    expect(tokenIds[0]).not.toEqual(tokenIds[1]);
  });
});

describe("stopping", () => {
  it("ends at a stop token, which is the last one, while other rows go on", async () => {
    const free = (await run(PROMPTS, SAMPLED)).tokenIds;
    const stop = free[0]![4]!;
    const { tokenIds, stoppedBecause } = await run(PROMPTS, {
      ...SAMPLED,
      ignoreEos: false,
      stopTokenIds: [stop],
    });
    for (const [row, ids] of free.entries()) {
      const at = ids.indexOf(stop);
      expect(tokenIds[row]).toEqual(at < 0 ? ids : ids.slice(0, at + 1));
      expect(stoppedBecause[row]).toBe(at < 0 ? "length" : "stop-token");
    }
    expect(tokenIds[0]!.length).toBeLessThan(12);
  });

  it("ends at a stop string, none of which is streamed", async () => {
    const [ids] = (await run([PROMPTS[0]!], SAMPLED)).tokenIds;
    const stopString = letters.decode(ids!.slice(5, 8));
    const options = { ...SAMPLED, stopStrings: [stopString] };
    const { tokenIds, stoppedBecause } = await run([PROMPTS[0]!], {
      ...options,
      tokenizer: letters,
    });
    expect(stoppedBecause).toEqual(["stop-string"]);
    expect(tokenIds[0]).toEqual(ids!.slice(0, 8));
    const streamed = await collect(
      createTextStream(model, letters).continue(PROMPTS[0]!, {
        ...options,
        maxNewTokens: 12,
        ignoreEos: true,
      }),
    );
    expect(streamed.text).toBe(letters.decode(ids!.slice(0, 5)));
  });

  it("stops when its signal aborts", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(run(PROMPTS, { signal })).rejects.toThrow("enough");
    expect(
      await collect(createTextStream(model, letters).continue([5], { signal, maxNewTokens: 4 })),
    ).toEqual({
      text: "",
      tokenIds: [],
    });
  });
});

describe("streams", () => {
  it("give the tokens of generate, also when they go on from a cached beginning", async () => {
    const stream = createTextStream(model, letters);
    const options = { ...SAMPLED, maxNewTokens: 8, ignoreEos: true };
    const prompts = [PROMPTS[2]!, [...PROMPTS[2]!, 40, 41], PROMPTS[2]!.slice(0, 3), PROMPTS[2]!];
    for (const prompt of prompts) {
      const { tokenIds } = await generate(model, { ...options, inputIds: [prompt] });
      const streamed = await collect(stream.continue(prompt, options));
      expect(streamed).toEqual({ text: letters.decode(tokenIds[0]!), tokenIds: tokenIds[0] });
    }
  });
});

describe("faults", () => {
  it.each<[string, number[][], object, RegExp]>([
    [
      "no room",
      [[1, 2]],
      { maxNewTokens: 63 },
      /context of 64[\s\S]*2 \+ maxNewTokens 63[\s\S]*at most 62/,
    ],
    ["no prompt", [[]], {}, /at least one token/],
    ["no prompts", [], {}, /at least one prompt/],
    ["topP", [[1]], { topP: 0 }, /topP: above 0/],
    ["no tokenizer", [[1]], { stopStrings: ["x"] }, /tokenizer/],
  ])("are told: %s", async (_, inputIds, options, message) => {
    const error = await run(inputIds, options).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TunesmithError);
    expect(String(error)).toMatch(message);
  });
});

describe("defaults of generation_config.json", () => {
  const file = { do_sample: true, temperature: 0.6, top_k: 0, top_p: 0.9, repetition_penalty: 1.1 };
  it.each<[object, object | undefined, object]>([
    [{}, undefined, { temperature: 0 }],
    [{}, file, { temperature: 0.6, topP: 0.9, repetitionPenalty: 1.1 }],
    [{ temperature: 0 }, file, { temperature: 0, topP: 0.9, repetitionPenalty: 1.1 }],
    [{ topP: 1 }, { do_sample: true, top_p: 0.5 }, { temperature: 1, topP: 1 }],
    [{ topP: undefined }, { do_sample: false, top_p: 0.5 }, { temperature: 0, topP: 0.5 }],
  ])("fill %j from %j", (options, generationConfig, expected) =>
    expect(withModelDefaults(options, generationConfig as never)).toEqual(expected),
  );
});

it("stops where the model's files say, and for text where the tokenizer says too", () => {
  const source = { config: { eos_token_id: 5 }, generationConfig: { eos_token_id: [7, 2] } };
  expect(stopTokenIds(source)).toEqual([7, 2]);
  expect(stopTokenIds({ ...source, generationConfig: undefined })).toEqual([5]);
  expect(stopTokenIds(source, { eosTokenId: 2 })).toEqual([2, 7]);
});
