// Which tensors LoRA and full tuning declare, how those start, and LoRA's options through PEFT's file.

import { describe, expect, it } from "vitest";
import { createRandom } from "../runtime/random.ts";
import { sizeOf } from "../tensor/index.ts";
import { fromLoraConfig, type LoraConfig } from "./lora/lora-config.ts";
import type { LoraOptions } from "./lora/lora-options.ts";
import type { BoundMethod } from "./method.ts";
import { bindMethod } from "./registry.ts";
import { describeModel, noVocabulary } from "./testing/description.ts";

const model = describeModel();
const lora = (options: Omit<LoraOptions, "name"> = {}, of = model) =>
  bindMethod({ ...options, name: "lora" }, of);
const keysOf = ({ parameters }: BoundMethod) => parameters.map(({ key }) => key);
const noBase = async (name: string): Promise<Float32Array> => {
  throw new Error(`read ${name}`);
};
const initialOf = async (method: BoundMethod, index: number, seed = 1) =>
  method.parameters[index]!.initial(createRandom(seed), noBase, noVocabulary, noBase);

describe("LoRA's tensors", () => {
  it("are an A and a B for each module, by the keys of PEFT's file", () => {
    const { parameters } = lora({ rank: 4, targets: ["0.self_attn.k_proj"] });
    expect(parameters.map(({ key, shape }) => [key, shape])).toEqual([
      ["base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight", [4, 64]],
      ["base_model.model.model.layers.0.self_attn.k_proj.lora_B.weight", [32, 4]],
    ]);
  });

  it("have the rank of the first pattern that fits", () => {
    const { parameters } = lora({ rank: 8, rankPattern: { "1.self_attn.q_proj": 2, q_proj: 3 } });
    const ranks = parameters
      .filter(({ key }) => key.includes("q_proj.lora_A"))
      .map(({ shape }) => shape[0]);
    expect(ranks).toEqual([3, 2, 3]);
  });

  it.each([
    ["none", 0, 0],
    ["lora_only", 6, 6],
    ["all", 12, 6],
  ] as const)("bias %s", (bias, all, wrapped) => {
    const biased = describeModel({ attention_bias: true });
    const keys = keysOf(lora({ bias }, biased)).filter((key) => key.endsWith(".bias"));
    expect(keys).toHaveLength(all);
    expect(keys.filter((key) => key.endsWith("base_layer.bias"))).toHaveLength(wrapped);
  });

  it("include whole modules, each once, in place of an adapted one", () => {
    const method = lora({ targets: ["q_proj", "v_proj"], modulesToSave: ["lm_head", "q_proj"] });
    const keys = keysOf(method);
    expect(keys).toContain("base_model.model.lm_head.weight");
    expect(keys).toContain("base_model.model.model.layers.0.self_attn.q_proj.weight");
    expect(keys.filter((key) => key.includes("q_proj.lora"))).toEqual([]);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it("include every module whose path ends with a name, as PEFT's do", () => {
    const keys = keysOf(lora({ targets: ["q_proj"], modulesToSave: ["norm"] }));
    const norms = keys.filter((key) => key.includes("norm")).map((key) => key.slice(23));
    expect(norms).toHaveLength(2 * 3 + 1);
    expect(norms).toContain("layers.2.post_attention_layernorm.weight");
    expect(norms).toContain("norm.weight");
  });

  it("name a module to save that the model lacks, with the nearest", () => {
    expect(() => lora({ modulesToSave: ["embed_token"] })).toThrow('nearest is "embed_tokens"');
  });
});

describe("LoRA's first values", () => {
  const site = { targets: ["0.mlp.down_proj"], rank: 8 } as const;
  const deviation = (values: Float32Array) =>
    Math.sqrt(values.reduce((total, value) => total + value * value, 0) / values.length);

  // Of a uniform distribution in ±b: b / √3. 768 draws know a deviation to 3 percent.
  it.each([
    [true, 1 / Math.sqrt(96 * 3), 0],
    [false, 1 / Math.sqrt(96 * 3), 1 / Math.sqrt(8 * 3)],
    ["gaussian", 1 / 8, 0],
    ["orthogonal", Math.SQRT1_2 / 10, Math.SQRT1_2 / 10],
  ] as const)("%s: standard deviations of A and B", async (init, ofA, ofB) => {
    const method = lora({ ...site, init });
    const [a, b] = [await initialOf(method, 0), await initialOf(method, 1)];
    expect(Math.abs(deviation(a) - ofA)).toBeLessThanOrEqual(0.12 * ofA);
    expect(Math.abs(deviation(b) - ofB)).toBeLessThanOrEqual(0.12 * ofB);
  });

  it("orthogonal: neither factor is zero, their product is", async () => {
    const method = lora({ ...site, init: "orthogonal" });
    const [a, b] = [await initialOf(method, 0), await initialOf(method, 1)];
    let largest = 0;
    for (let out = 0; out < 64; out++)
      for (let i = 0; i < 96; i++) {
        let sum = 0;
        for (let r = 0; r < 8; r++) sum += b[out * 8 + r]! * a[r * 96 + i]!;
        largest = Math.max(largest, Math.abs(sum));
      }
    expect(largest).toBeLessThan(1e-7);
  });

  it("orthogonal: needs an even rank", () => {
    expect(() => lora({ ...site, rank: 3, init: "orthogonal" })).toThrow("use rank 4");
  });

  it("follow the seed, and differ from module to module", async () => {
    const method = lora({ rank: 8 });
    expect(await initialOf(method, 0, 1)).toEqual(await initialOf(method, 0, 1));
    expect(await initialOf(method, 0, 1)).not.toEqual(await initialOf(method, 0, 2));
    expect(await initialOf(method, 0, 1)).not.toEqual(await initialOf(method, 4, 1));
  });
});

describe("LoRA's options", () => {
  const options: LoraOptions = {
    name: "lora",
    rank: 4,
    alpha: 12,
    targets: ["q_proj", "down_proj"],
    exclude: ["0.mlp.down_proj"],
    rankPattern: { q_proj: 2 },
    alphaPattern: { down_proj: 3 },
    rslora: true,
    dropout: 0.1,
    bias: "all",
    modulesToSave: ["embed_tokens"],
    layersToTransform: [0, 2],
    dora: true,
    loraBias: false,
    trainableTokens: { lm_head: [3, 49] },
  };
  const savedConfig = (method: BoundMethod) => {
    if (method.saved === "checkpoint") throw new Error("LoRA saves an adapter");
    return method.saved.config as LoraConfig;
  };

  it("come back from PEFT's config as they were", () => {
    expect(fromLoraConfig(savedConfig(bindMethod(options, model)), "adapter")).toEqual(options);
  });

  it("resolve all-linear to names, as PEFT's file has it", () => {
    const config = savedConfig(lora({ targets: "all-linear", exclude: ["up_proj"] }));
    expect(new Set(config.target_modules)).toEqual(
      new Set(["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "down_proj"]),
    );
    const again = bindMethod(fromLoraConfig(config, "adapter"), model);
    expect(keysOf(again)).toEqual(keysOf(lora({ targets: "all-linear", exclude: ["up_proj"] })));
  });

  it("that are not implemented are refused together", () => {
    const config = { ...savedConfig(lora()), use_qalora: true, use_bdlora: { any: 1 } };
    expect(() => fromLoraConfig(config, "adapter")).toThrow(
      /adapter_config\.json: use_bdlora[\s\S]*adapter_config\.json: use_qalora/,
    );
  });
});

describe("full fine-tuning", () => {
  it("trains every weight under its own name", () => {
    const { parameters } = bindMethod({ name: "full" }, model);
    expect(parameters.map(({ key, shape }) => [key, sizeOf(shape)])).toEqual(
      model.weights.map(({ name, shape }) => [name, sizeOf(shape)]),
    );
  });

  it("trains a tied matrix once, under both of its uses", () => {
    const { replaces } = bindMethod({ name: "full" }, model);
    expect(replaces.get("lm_head.weight")).toBe(replaces.get("model.embed_tokens.weight"));
    const untied = describeModel({ tie_word_embeddings: false });
    const own = bindMethod({ name: "full" }, untied).replaces;
    expect(own.get("lm_head.weight")).not.toBe(own.get("model.embed_tokens.weight"));
  });

  it("starts from the checkpoint", async () => {
    const [embedding] = bindMethod({ name: "full" }, model).parameters;
    const values = Float32Array.of(1, 2);
    const read: string[] = [];
    const base = async (name: string) => {
      read.push(name);
      return values;
    };
    expect(await embedding!.initial(createRandom(0), base, noVocabulary, base)).toBe(values);
    expect(read).toEqual(["model.embed_tokens.weight"]);
  });
});
