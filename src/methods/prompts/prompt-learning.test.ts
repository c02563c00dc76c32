// Prompt tuning, prefix tuning and P-tuning: how they start, what they refuse, and their options
// through PEFT's file.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createRandom } from "../../runtime/random.ts";
import type { ParameterSpec, Vocabulary } from "../method.ts";
import { bindMethod, type MethodOptions, methodOfAdapter } from "../registry.ts";
import { describeModel, noVocabulary } from "../testing/description.ts";

const CASES = join(import.meta.dirname, "../../../tests/parity/cases/prompts");
const model = describeModel({ max_position_embeddings: 64 });
const noBase = async (): Promise<Float32Array> => {
  throw new Error("read the base");
};
const first = ({ initial }: ParameterSpec, vocabulary = noVocabulary, seed = 1) =>
  initial(createRandom(seed), noBase, vocabulary, noBase);
const parametersOf = (options: MethodOptions) => bindMethod(options, model).parameters;
const deviationOf = (values: Float32Array) =>
  Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);

/** Every token's embedding is its own number; the text "ab" is the tokens 1 (begin), 11 and 12. */
const vocabulary: Vocabulary = {
  ids: async (text) => [1, ...[...text].map((letter) => letter.charCodeAt(0) - 86)],
  embeddings: async (ids) => Float32Array.from(ids),
};

describe("a prompt", () => {
  const startOf = async (
    options: Omit<Extract<MethodOptions, { name: "prompt" }>, "name">,
    seed = 1,
  ) => first(parametersOf({ name: "prompt", ...options })[0]!, vocabulary, seed);

  it("starts as tokens drawn from the vocabulary", async () => {
    const start = await startOf({ virtualTokens: 30 });
    expect(start).toHaveLength(30);
    expect(start.every((id) => Number.isInteger(id) && id >= 0 && id < 50)).toBe(true);
    expect(new Set(start).size).toBeGreaterThan(10);
    expect(await startOf({ virtualTokens: 30 })).toEqual(start);
    expect(await startOf({ virtualTokens: 30 }, 2)).not.toEqual(start);
  });

  it("starts as a text's tokens, over and over or cut", async () => {
    expect([...(await startOf({ virtualTokens: 7, initText: "ab" }))]).toEqual([
      1, 11, 12, 1, 11, 12, 1,
    ]);
    expect([...(await startOf({ virtualTokens: 2, initText: "ab" }))]).toEqual([1, 11]);
    const [spec] = parametersOf({ name: "prompt", initText: "?" });
    const nothing = { ...vocabulary, ids: async () => [] };
    await expect(first(spec!, nothing)).rejects.toThrow(/initText[\s\S]*at least one token/);
  });

  it("starts from the normal distribution, as PyTorch's embeddings", async () => {
    const start = await startOf({ virtualTokens: 50, init: "random" });
    expect(start).toHaveLength(50 * 64);
    expect(deviationOf(start)).toBeCloseTo(1, 1);
  });
});

describe("an encoder", () => {
  it("starts as PyTorch's linear layers and LSTMs do", async () => {
    const specs = parametersOf({ name: "p-tuning", encoder: "lstm", encoderSize: 16 });
    for (const spec of specs) {
      const values = await first(spec);
      const isEmbedding = spec.key.endsWith("embedding.weight");
      const inputs = spec.key.includes("lstm") ? 16 : 2 * 16;
      const expected = isEmbedding ? 1 : 1 / Math.sqrt(3 * inputs);
      expect(Math.abs(deviationOf(values) / expected - 1), spec.key).toBeLessThan(0.3);
      if (!isEmbedding) {
        const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        expect(largest, spec.key).toBeLessThanOrEqual(1 / Math.sqrt(inputs));
      }
    }
    const draws = await Promise.all(specs.map((spec) => first(spec)));
    expect(new Set(draws.map((values) => values[0])).size).toBe(specs.length);
  });

  it.each([false, true])("of a prefix may start as zeros: projection %s", async (projection) => {
    const specs = parametersOf({ name: "prefix", projection, init: "zero" });
    const zeros = await Promise.all(
      specs.map(async (spec) =>
        (await first(spec)).every((value) => value === 0) ? spec.key : "",
      ),
    );
    const outputs = specs
      .map(({ key }) => key)
      .filter((key) => /embeddings\.|transform\.2/.test(key));
    expect(zeros.filter((key) => key !== "")).toEqual(outputs);
    expect(outputs).toHaveLength(projection ? 6 : 3);
  });
});

describe("what cannot be is refused at once", () => {
  it.each<[string, MethodOptions, RegExp]>([
    ["no room for a text", { name: "prefix", virtualTokens: 64 }, /context of 64 tokens/],
    ["no tokens", { name: "prompt", virtualTokens: 0 }, /virtualTokens/],
    ["text without initText", { name: "prompt", init: "text" }, /no initText/],
    ["initText for another start", { name: "prompt", init: "random", initText: "a" }, /"random"/],
    ["a size of no encoder", { name: "prefix", encoderSize: 8 }, /projection: true/],
    ["layers of an MLP", { name: "p-tuning", encoderLayers: 3 }, /encoderLayers[\s\S]*lstm/],
    ["dropout of an MLP", { name: "p-tuning", encoderDropout: 0.1 }, /encoderDropout[\s\S]*lstm/],
    [
      "dropout between one layer",
      { name: "p-tuning", encoder: "lstm", encoderLayers: 1, encoderDropout: 0.1 },
      /takes two/,
    ],
  ])("%s", (_, options, pattern) => {
    expect(() => bindMethod(options, model)).toThrow(pattern);
  });
});

describe("PEFT's configuration", () => {
  const json = (...path: string[]) => JSON.parse(readFileSync(join(CASES, ...path), "utf8"));
  const read = (name: string) => json(name, "adapter/adapter_config.json");

  const names = readdirSync(CASES).filter(
    (name) => !name.includes("trajectory") && !name.includes("baked"),
  );
  it("is among the stored cases", () => expect(names.length).toBeGreaterThan(5));

  it.each(names)("is written as PEFT writes it: %s", (name) => {
    const config = read(name);
    const encoder = new Map();
    const options = methodOfAdapter({ config, encoder }, "adapter");
    const base = describeModel(json(name, json(name, "case.json").model, "config.json"));
    const { saved } = bindMethod(options, base);
    if (saved === "checkpoint") throw new Error("not an adapter");
    expect({ ...saved.config, inference_mode: true }).toEqual(config);
  });

  it.each([
    ["prefix-baked", { name: "prefix", virtualTokens: 3, projection: false }],
    ["p-tuning-baked", { name: "prompt", virtualTokens: 3 }],
  ])("is that of a bare prompt where the encoder is gone: %s", (name, options) => {
    expect(methodOfAdapter({ config: read(name) }, "adapter")).toEqual(options);
  });

  it("has a text to start from, and the tokenizer that PEFT asks for with one", () => {
    const { saved } = bindMethod({ name: "prompt", initText: "Be kind." }, model);
    if (saved === "checkpoint") throw new Error("not an adapter");
    expect(saved.config).toMatchObject({
      prompt_tuning_init: "TEXT",
      prompt_tuning_init_text: "Be kind.",
      tokenizer_name_or_path: "tiny-llama",
    });
    const config = saved.config as Record<string, string>;
    expect(methodOfAdapter({ config }, "adapter")).toMatchObject({ initText: "Be kind." });
  });

  it.each([
    ["an encoder-decoder's", { num_transformer_submodules: 2 }, /num_transformer_submodules/],
    ["modules trained besides", { modules_to_save: ["lm_head"] }, /modules_to_save/],
    ["an unknown start", { prompt_tuning_init: "MAGIC" }, /prompt_tuning_init/],
  ])("is refused where it asks for %s", (_, change, pattern) => {
    const config = { ...read("prompt"), ...change };
    expect(() => methodOfAdapter({ config }, "adapter")).toThrow(pattern);
  });
});
