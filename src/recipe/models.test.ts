import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openModel } from "../engine/load.ts";
import { type Packing, writePackedModel } from "../engine/testing/packed-model.ts";
import { TunesmithError } from "../errors.ts";
import { openCheckpoint, writeSafetensors } from "../hub/index.ts";
import { supportedModelTypes } from "../models/index.ts";
import { sizeOf } from "../tensor/index.ts";
import { describeModel } from "./models.ts";
import { supportedModels } from "./supported-models.ts";
import { writeTinyModel } from "./testing/tiny-model.ts";

const ROOT = join(import.meta.dirname, "../..");
const CASES = join(ROOT, "tests/parity/cases");
const EMBEDDED = join(ROOT, "assets/embedded-model");

describe("supported models", () => {
  it("are all that the registry has, each with its words", () => {
    const { architectures } = supportedModels();
    expect(architectures.map(({ modelType }) => modelType)).toEqual(supportedModelTypes);
    for (const { covers } of architectures) expect(covers.length).toBeGreaterThan(3);
    const gguf = new Map(architectures.map((one) => [one.modelType, one.gguf]));
    expect([gguf.get("llama"), gguf.get("gpt2"), gguf.get("glm-130b")]).toEqual([
      "read and written",
      "read and written",
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
    expect(chat).toEqual({
      missing: "none: a model folder holds tokenizer.json; saw no such file",
    });
  });

  it("of fused projections is described by the targets that it has", async () => {
    const { memoryBytes } = await describeModel(join(CASES, "gpt/gpt2/model"));
    expect(memoryBytes.every(({ count }) => count > 0)).toBe(true);
  });

  it("of GPTQ's says what stays in its 4 bits, and what is widened and why", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tunesmith-models-"));
    const lines = async (packing: Packing) => {
      await writePackedModel(join(CASES, "llama/base/model"), folder, packing);
      const { sizes, memoryBytes } = await describeModel(folder);
      const told = sizes.filter(({ name }) => /quantised|widened/.test(name));
      return { told, generated: memoryBytes.map(({ name }) => name) };
    };
    const kept = await lines({ method: "gptq", groupSize: 16 });
    expect(kept.told).toEqual([{ name: "quantised", text: "8 weights as int4" }]);
    expect(kept.generated).toContain("generation, auto");
    const widened = await lines({ method: "gptq", groupSize: 8 });
    expect(widened.told.map(({ text }) => text)).toEqual([
      "8 weights: groups of 8 among 32 inputs, no multiples of 16",
    ]);
    expect(widened.generated).not.toContain("generation, auto");
    await rm(folder, { recursive: true });
  });

  it("without the prefix of its base model keeps its type", async () => {
    const source = join(CASES, "gpt/gpt2/model");
    const folder = await mkdtemp(join(tmpdir(), "tunesmith-models-"));
    try {
      const { weightBytes } = await describeModel(source);
      const checkpoint = await openCheckpoint(source);
      const tensors = [...checkpoint.tensors.values()].map(({ name, shape }) => ({
        name: name.replace(/^transformer\./, ""),
        shape,
        dtype: "F16" as const,
        data: new Float32Array(sizeOf(shape)),
      }));
      await checkpoint.close();
      await copyFile(join(source, "config.json"), join(folder, "config.json"));
      await writeSafetensors(join(folder, "model.safetensors"), tensors);
      const short = await describeModel(folder);
      expect(2 * short.weightBytes[0]!.count).toBe(weightBytes[0]!.count);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("tells what is amiss with its template, and tensors that are missing by name", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tunesmith-models-"));
    try {
      await writeTinyModel(folder);
      await writeFile(join(folder, "chat_template.jinja"), "{{ raise_exception('none today') }}");
      const { chat, specialTokens } = await describeModel(folder);
      expect(chat).toEqual({ missing: expect.stringContaining("none today") });
      expect(specialTokens).toEqual({ bos: "<s> (1)", eos: "</s> (2)", pad: "<pad> (0)" });

      const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
      const layers = config.num_hidden_layers;
      const more = { ...config, num_hidden_layers: layers + 1 };
      await writeFile(join(folder, "config.json"), JSON.stringify(more));
      await expect(describeModel(folder)).rejects.toThrow(
        `model.layers.${layers}.self_attn.q_proj.weight`,
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("that is none is refused", async () => {
    await expect(describeModel(join(CASES, "lora/q-v/adapter"))).rejects.toThrow(TunesmithError);
  });
});
