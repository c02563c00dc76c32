import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openModel } from "../engine/load.ts";
import { TunesmithError } from "../errors.ts";
import { supportedModelTypes } from "../models/index.ts";
import { describeModel, supportedModels } from "./models.ts";

const ROOT = join(import.meta.dirname, "../..");
const CASES = join(ROOT, "tests/parity/cases");
const EMBEDDED = join(ROOT, "assets/embedded-model");

describe("supported models", () => {
  it("are all that the registry has, each with its words", () => {
    const { architectures } = supportedModels();
    expect(architectures.map(({ modelType }) => modelType)).toEqual(supportedModelTypes);
    for (const { covers } of architectures) expect(covers.length).toBeGreaterThan(3);
    const gguf = new Map(architectures.map((one) => [one.modelType, one.gguf]));
    expect([gguf.get("llama"), gguf.get("gemma2"), gguf.get("gpt2")]).toEqual([
      "read and written",
      "read",
      "",
    ]);
  });
});

describe("a model", () => {
  it("has the sizes that opening it shows", async () => {
    const facts = await describeModel(EMBEDDED);
    for (const dtype of ["auto", "float32", "q8", "q4"] as const) {
      const model = await openModel(EMBEDDED, { dtype, threads: 1 });
      const told = facts.weightBytes.find(({ name }) => name === dtype)!.count;
      expect(told).toBe(model.weights.bytes);
      await model.dispose();
    }
    const { parameters } = facts;
    const blocks = parameters.blocks[0]!.modules.reduce((sum, { count }) => sum + count, 0);
    const layers = Number(facts.config.num_hidden_layers);
    const hidden = Number(facts.config.hidden_size);
    expect(parameters.blocks).toHaveLength(1);
    expect(parameters.embedding + parameters.output + layers * blocks + hidden).toBe(
      parameters.total,
    );
    expect(facts.chat).toContain("Hello!");
    expect(Object.keys(facts.specialTokens)).toContain("eos");
    expect(facts.memoryBytes.map(({ name }) => name)).toContain("QLoRA, rank 8, lean");
  });

  it("with experts tells what a token goes through, and what layers differ in", async () => {
    const { parameters, chat } = await describeModel(
      join(CASES, "architectures/qwen2-moe-mixed/model"),
    );
    expect(parameters.active).toBeLessThan(parameters.total);
    expect(parameters.blocks.length).toBeGreaterThan(1);
    expect(chat).toEqual({ missing: "no tokenizer beside the model" });
  });

  it("of fused projections is described by the targets that it has", async () => {
    const { memoryBytes } = await describeModel(join(CASES, "gpt/gpt2/model"));
    expect(memoryBytes.every(({ count }) => count > 0)).toBe(true);
  });

  it("that is none is refused", async () => {
    await expect(describeModel(join(CASES, "lora/q-v/adapter"))).rejects.toThrow(TunesmithError);
  });
});
