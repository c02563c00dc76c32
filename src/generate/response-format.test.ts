// A model's answers held to forms: whatever it would rather say, every answer that was not cut off fits.

import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EngineModel, openModel } from "../engine/load.ts";
import { TunesmithError } from "../errors.ts";
import { loadTokenizerFolder, type Tokenizer } from "../hub/index.ts";
import type { ResponseFormat } from "./constraint/response-format.ts";
import { generate } from "./generate.ts";
import { createRequests } from "./requests.ts";
import { createTextStream } from "./stream-text.ts";
import { letters } from "./testing/letters.ts";

const EMBEDDED = join(import.meta.dirname, "../../assets/embedded-model");
const PERSON = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 12 },
    age: { type: "integer", minimum: 0, maximum: 120 },
    colours: { type: "array", items: { enum: ["red", "blue"] }, maxItems: 3 },
  },
  required: ["name", "age"],
  additionalProperties: false,
};
const SCHEMA: ResponseFormat = { type: "json_schema", schema: PERSON };
const PHONE: ResponseFormat = { type: "regex", pattern: "(\\d{3}-){2}\\d{4}" };
const SUMS: ResponseFormat = { type: "grammar", grammar: 'root ::= [0-9]+ ("+" [0-9]+)*' };
const HOT = { temperature: 1.5, maxNewTokens: 60 };

const isPerson = new Ajv2020().compile(PERSON);
const LOOKS = new Map<ResponseFormat, (text: string) => boolean>([
  [SCHEMA, (text) => isPerson(JSON.parse(text))],
  [PHONE, (text) => /^(\d{3}-){2}\d{4}$/.test(text)],
  [SUMS, (text) => /^\d+(\+\d+)*$/.test(text)],
]);

let model: EngineModel;
let tokenizer: Tokenizer;
let prompt: number[];
beforeAll(async () => {
  model = await openModel(EMBEDDED, { threads: 1 });
  tokenizer = await loadTokenizerFolder(EMBEDDED);
  prompt = tokenizer.encode("Tell me about a sailor.");
});
afterAll(() => model.dispose());

const textOf = (ids: readonly number[]) => tokenizer.decode(ids, { skipSpecialTokens: true });

describe("at a temperature at which a model says anything", () => {
  it("whole answers by a schema are valid, for all seeds", async () => {
    const requests = createRequests({ model, tokenizer }, { maxBatch: 8 });
    const replies = await Promise.all(
      Array.from(
        { length: 20 },
        (_, seed) =>
          requests.submit({ ...HOT, inputIds: prompt, seed, responseFormat: SCHEMA }).finished,
      ),
    );
    const whole = replies.filter(({ stoppedBecause }) => stoppedBecause !== "length");
    expect(whole.length).toBeGreaterThan(10);
    for (const { text, stoppedBecause } of whole) {
      expect(stoppedBecause).toBe("complete");
      expect(isPerson(JSON.parse(text)), text).toBe(true);
    }
    expect(new Set(replies.map(({ text }) => text)).size).toBeGreaterThan(10);
  });

  it("each row of a batch keeps to its own form, and one without to none", async () => {
    const formats = [SCHEMA, PHONE, undefined, SUMS, PHONE];
    const { tokenIds, stoppedBecause } = await generate(model, {
      ...HOT,
      inputIds: formats.map(() => prompt),
      responseFormat: formats,
      tokenizer,
      seed: 5,
    });
    let whole = 0;
    formats.forEach((format, row) => {
      if (format === undefined || stoppedBecause[row] === "length") return;
      whole++;
      expect(LOOKS.get(format)!(textOf(tokenIds[row]!)), textOf(tokenIds[row]!)).toBe(true);
    });
    expect(whole).toBeGreaterThan(2);
    expect([stoppedBecause[1], stoppedBecause[4]]).toEqual(["complete", "complete"]);
    expect(tokenIds[1]).not.toEqual(tokenIds[4]);
    expect(textOf(tokenIds[2]!)).not.toMatch(/^[\d{]/);
  });

  it("is in a stream what it is in a batch", async () => {
    const options = { ...HOT, seed: 3, responseFormat: PHONE };
    const pieces = createTextStream(model, tokenizer).continue(prompt, options);
    let text = "";
    let next = await pieces.next();
    for (; !next.done; next = await pieces.next()) text += next.value.text;
    expect(next.value).toBe("complete");
    expect(text).toMatch(/^(\d{3}-){2}\d{4}$/);
    const { tokenIds } = await generate(model, { ...options, inputIds: [prompt], tokenizer });
    expect(textOf(tokenIds[0]!)).toBe(text);
  });
});

describe("an answer ends", () => {
  const ask = async (responseFormat: ResponseFormat, options = {}) => {
    const requests = createRequests({ model, tokenizer });
    return requests.submit({ inputIds: prompt, maxNewTokens: 40, responseFormat, ...options })
      .finished;
  };

  it("where nothing may follow, with every token of it said", async () => {
    const { text, stoppedBecause, tokenIds } = await ask({ type: "regex", pattern: "yes, sir" });
    expect([text, stoppedBecause]).toEqual(["yes, sir", "complete"]);
    expect(textOf(tokenIds)).toBe("yes, sir");
  });

  it("where it is cut off", async () => {
    const { text, stoppedBecause } = await ask(SCHEMA, { maxNewTokens: 3 });
    expect(stoppedBecause).toBe("length");
    expect(text).toMatch(/^\{/);
    expect(() => JSON.parse(text)).toThrow();
  });

  it("by a stop token where more might follow", async () => {
    // The model's own end comes at once where nothing need be said before it.
    const free = (await ask({ type: "text" }, { maxNewTokens: 1 })).tokenIds[0]!;
    const pattern = "[^]*";
    const { tokenIds, stoppedBecause } = await ask(
      { type: "regex", pattern },
      { stopTokenIds: [free] },
    );
    expect([tokenIds, stoppedBecause]).toEqual([[free], "stop-token"]);
    const needsMore = await ask(
      { type: "regex", pattern: "a[^]*" },
      { stopTokenIds: [free], maxNewTokens: 6 },
    );
    expect(needsMore.text[0]).toBe("a");
  });
});

it("probabilities are the model's own, not those of what the form leaves", async () => {
  const { tokenIds, logProbabilities } = await generate(model, {
    inputIds: [prompt],
    maxNewTokens: 2,
    responseFormat: { type: "regex", pattern: "q" },
    logProbabilities: 1,
    tokenizer,
  });
  const [told] = logProbabilities![0]!;
  expect(tokenIds[0]).toEqual([told!.tokenId]);
  expect(told!.logProbability).toBeLessThan(-1);
  expect(told!.top[0]!.tokenId).not.toBe(told!.tokenId);
});

describe("what cannot be is told", () => {
  const ask = (options: object) =>
    generate(model, { inputIds: [prompt], maxNewTokens: 2, tokenizer, ...options });

  it.each<[string, object, RegExp]>([
    ["no tokenizer", { responseFormat: PHONE, tokenizer: undefined }, /loadTokenizer/],
    ["no bytes", { responseFormat: PHONE, tokenizer: letters }, /neither byte-level nor/],
    ["a list of another length", { responseFormat: [PHONE, PHONE] }, /2 for 1 prompts/],
    ["a schema", { responseFormat: { type: "json_schema", schema: { not: {} } } }, /#\/not/],
    ["a type", { responseFormat: { type: "regexp" } }, /write regex/],
  ])("%s", async (_, options, message) => {
    const error = await ask(options).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TunesmithError);
    expect(String(error)).toMatch(message);
  });

  it("what the vocabulary cannot spell fails its own request and no other", async () => {
    // Without the bytes of a tilde.
    const tilde = "~".charCodeAt(0);
    const poor: Tokenizer = {
      ...tokenizer,
      tokenBytes(id) {
        const bytes = tokenizer.tokenBytes!(id);
        return bytes?.includes(tilde) ? undefined : bytes;
      },
    };
    const requests = createRequests({ model, tokenizer: poor }, { maxBatch: 3 });
    const submit = (pattern: string) =>
      requests.submit({
        inputIds: prompt,
        maxNewTokens: 20,
        responseFormat: { type: "regex", pattern },
      }).finished;
    const [first, bad, other] = await Promise.allSettled([
      submit("ab{9}"),
      submit("ab~"),
      submit("\\d{12}"),
    ]);
    expect(first).toMatchObject({ value: { text: "abbbbbbbbb", stoppedBecause: "complete" } });
    expect(other).toMatchObject({ status: "fulfilled" });
    const { reason } = bad as PromiseRejectedResult;
    expect(reason).toBeInstanceOf(TunesmithError);
    expect(String(reason)).toMatch(/tokens for every character[\s\S]*stopTokenIds/);
    expect((await submit("a{3}")).text).toBe("aaa");
    await expect.poll(() => [requests.running, requests.waiting]).toEqual([0, 0]);
  });
});
