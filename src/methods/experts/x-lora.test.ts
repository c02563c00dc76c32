// X-LoRA: what cannot be mixed is told at once, scalings are what the options say, and files of PEFT's
// that are not whole are made whole.

import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createDecoder } from "../../engine/decoding/decoder.ts";
import { openTiny } from "../../engine/testing/tiny-models.ts";
import { readAdapter } from "../../hub/index.ts";
import { writeSafetensors } from "../../hub/safetensors/safetensors-writer.ts";
import { casePath } from "../../hub/testing/cases.ts";
import { temporaryFolder } from "../../hub/testing/files.ts";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import { input, type Tensor, topologicalOrder } from "../../tensor/index.ts";
import type { MethodScope, ParameterSpec } from "../method.ts";
import { bindMethod } from "../registry.ts";
import { describeModel } from "../testing/description.ts";
import { type XLoraOptions, xLoraSchema } from "./x-lora-options.ts";
import { firstPassScalings } from "./x-lora-scalings.ts";

const MIXTURE = join(casePath("xlora"), "softmax/adapter");
const [FIRST, SECOND] = ["expert-0", "expert-1"].map((name) => join(MIXTURE, name)) as [
  string,
  string,
];

const bind = (options: Omit<XLoraOptions, "name">) =>
  bindMethod({ name: "x-lora", ...options }, describeModel());

/** A LoRA's folder with other settings in its configuration. */
function changed(settings: object): string {
  const folder = temporaryFolder();
  cpSync(FIRST, folder, { recursive: true });
  const path = join(folder, "adapter_config.json");
  const config = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...config, ...settings }));
  return folder;
}

describe("refuses at once", () => {
  it.each([
    ["no adapters", () => ({ adapters: [] }), /method\.adapters[\s\S]*>=1 items/],
    [
      "a folder that is not there",
      () => ({ adapters: [FIRST, "/nowhere"] }),
      /nowhere.*adapter_config/,
    ],
    [
      "another method's adapter",
      () => ({ adapters: [join(casePath("tuners"), "ia3/adapter")] }),
      /is a LoRA as PEFT saves it[\s\S]*peft_type IA3[\s\S]*train the adapters/,
    ],
    [
      "LoRAs that are more than products",
      () => ({ adapters: [FIRST, changed({ use_dora: true, bias: "all" })] }),
      /method\.adapters\.1[\s\S]*use_dora: true[\s\S]*bias: all[\s\S]*without these options/,
    ],
    [
      "LoRAs of the head",
      () => ({ adapters: [changed({ target_modules: ["lm_head"] })] }),
      /lm_head among its target_modules/,
    ],
    [
      "LoRAs of layers that are not there",
      () => ({ adapters: [changed({ target_modules: ["c_attn"] })] }),
      /c_attn/,
    ],
    [
      "more choices than adapters",
      () => ({ adapters: [FIRST, SECOND], topK: 3 }),
      /topK 3 of 2 adapters/,
    ],
  ])("%s", (_, options, message) => {
    expect(() => bind(options())).toThrow(message);
  });

  it("adapters of another base, when they are read", async () => {
    const adapters = [changed({ r: 5 })];
    await expect(openTiny("base", { method: { name: "x-lora", adapters } })).rejects.toThrow(
      /lora_A[\s\S]*a tensor of shape \[5, \d+\][\s\S]*mix adapters of this base/,
    );
  });
});

it("a first pass has the scalings that PEFT gives equal adapters", () => {
  const settings = (options: Omit<XLoraOptions, "name" | "adapters">) =>
    xLoraSchema.parse({ name: "x-lora", adapters: ["a", "b", "c"], ...options });
  expect(firstPassScalings(settings({}))).toEqual([0, 0, 0]);
  expect(firstPassScalings(settings({ firstPassScaling: 0.3 }))).toEqual([0.3, 0.3, 0.3]);
  const best = { topK: 2, softmaxTopK: true };
  expect(firstPassScalings(settings({ ...best, firstPassScaling: 7 }))).toEqual([0.5, 0.5, 0]);
  expect(firstPassScalings(settings(best))).toEqual([0, 0, 0]);
});

it("only what is trained is counted as such, and adapters stay as they are", async () => {
  const model = await openTiny("base", { method: { name: "x-lora", adapters: [FIRST, SECOND] } });
  expect(model.parameters.map(({ name }) => name)).toEqual([
    "base_model.internal_xlora_classifier.layers.0.weight",
    "base_model.internal_xlora_classifier.layers.0.bias",
  ]);
  const folder = temporaryFolder();
  await model.saveAdapter(folder);
  for (const [number, source] of [FIRST, SECOND].entries())
    expect(await readAdapter(join(folder, `expert-${number}`))).toEqual(await readAdapter(source));
  // No path of this machine is in the file, and the folder is whole wherever it goes.
  const config = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
  expect(config.adapters).toEqual({ 0: "expert-0", 1: "expert-1" });
  const elsewhere = temporaryFolder();
  cpSync(folder, elsewhere, { recursive: true });
  rmSync(folder, { recursive: true });
  const again = await openTiny("base", { adapter: elsewhere });
  const inputIds = [[5, 17, 4]];
  expect(await again.forward({ inputIds })).toEqual(await model.forward({ inputIds }));
  await again.dispose();
  await model.dispose();
});

it("a layer that PEFT put into the folder of an adapter is found there", async () => {
  const { tensors } = await readAdapter(MIXTURE);
  const folder = temporaryFolder();
  const config = JSON.parse(readFileSync(join(MIXTURE, "adapter_config.json"), "utf8"));
  const adapters = { 0: FIRST, 1: SECOND };
  writeFileSync(join(folder, "adapter_config.json"), JSON.stringify({ ...config, adapters }));
  await writeSafetensors(join(folder, "adapter_model.safetensors"), []);
  mkdirSync(join(folder, "0"));
  const misplaced = [...tensors].filter(([key]) => key.includes("internal_xlora_classifier"));
  expect(misplaced.length).toBe(2);
  await writeSafetensors(
    join(folder, "0", "adapter_model.safetensors"),
    misplaced.map(([key, tensor]) => ({
      name: key.replace("layers.0.", "layers."),
      dtype: "F32" as const,
      ...tensor,
    })),
  );
  expect(new Map((await readAdapter(folder)).tensors)).toEqual(new Map(tensors));
});

it("a text is continued as it is read", async () => {
  const model = await openTiny("base", { adapter: MIXTURE });
  const ids = [5, 17, 4, 33, 46, 8];
  const { logits } = await model.forward({ inputIds: [ids] });
  const decoder = createDecoder(model);
  await decoder.append([ids.slice(0, 4)]);
  const [next] = await decoder.append([ids.slice(4)]);
  const wanted = logits.data.subarray(-next!.length);
  next!.forEach((value, i) => {
    expect(value).toBeCloseTo(wanted[i]!, 4);
  });
  await model.dispose();
});

it("a LoRA that it mixes with no other is that LoRA, on routers and experts as well", async () => {
  const inputIds = [[5, 17, 4, 33, 46, 8]];
  const targets = ["q_proj", "gate", "w2"];
  const lora = await openTiny("mixtral", { method: { name: "lora", rank: 2, targets } });
  for (const { data } of lora.parameters)
    for (let i = 0; i < data.length; i++) data[i]! += 0.2 * Math.sin(1 + 3.7 * i);
  const folder = temporaryFolder();
  await lora.saveAdapter(folder);
  const wanted = (await lora.forward({ inputIds })).logits.data;
  await lora.dispose();
  const method: XLoraOptions = { name: "x-lora", adapters: [folder], layerwise: true };
  const mixture = await openTiny("mixtral", { method });
  const found = (await mixture.forward({ inputIds })).logits.data;
  expect(arrayDifference(found, wanted)).toBeLessThan(1e-5);
  await mixture.dispose();
});

it("layers are counted in the order of Transformers' modules, which in Phi-3 begins with o_proj", async () => {
  const folder = temporaryFolder();
  const targets = ["qkv_proj", "o_proj", "down_proj"];
  const lora = await openTiny("phi3", { method: { name: "lora", rank: 1, targets } });
  await lora.saveAdapter(folder);
  await lora.dispose();
  const method: XLoraOptions = { name: "x-lora", adapters: [folder], layerwise: true };
  const mixture = await openTiny("phi3", { method });
  expect(mixture.method!.adapted!.map((path) => path.replace(/^.*layers\./, ""))).toEqual(
    [0, 1].flatMap((layer) =>
      ["self_attn.o_proj", "self_attn.qkv_proj", "mlp.down_proj"].map((name) => `${layer}.${name}`),
    ),
  );
  await mixture.dispose();
});

it("a deep classifier is run once in a graph, however many layers it scales", () => {
  const method = bind({ adapters: [FIRST, SECOND], layerwise: true, depth: 3 });
  const states = input("states", [4, 64]);
  const scope = {
    training: false,
    firstStates: () => states,
    parameter: ({ key, shape }: ParameterSpec) => input(key, shape),
    dropout: (x: Tensor) => x,
  } as unknown as MethodScope;
  const outputs = [0, 1].map((layer) => {
    const path = `model.layers.${layer}.mlp.up_proj`;
    expect(method.adapted).toContain(path);
    return method.linear!(path, states, () => input(path, [4, 96]), scope);
  });
  const found = topologicalOrder(outputs).filter(({ operator }) => operator === "relu");
  expect(found.length).toBe(2);
});
