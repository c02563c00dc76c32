// Models with learned positions and matrices that files hold as [in, out]: what is written has the files'
// form, PEFT's switch says so, and no text is longer than the table of positions.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openSafetensors } from "../hub/index.ts";
import { type EngineModel, openModel } from "./load.ts";
import { batchOf, openTiny, randomRows, tinyModelFolder } from "./testing/tiny-models.ts";

const shapesOf = async (folder: string) => {
  const file = await openSafetensors(join(folder, "model.safetensors"));
  await file.close();
  return new Map([...file.tensors].map(([name, { shape }]) => [name, shape]));
};

describe("a GPT-2", () => {
  let folder: string;
  let model: EngineModel;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tunesmith-gpt2-"));
    model = await openTiny("gpt2", { method: { name: "lora", rank: 2, init: false } });
  });
  afterAll(async () => {
    await model.dispose();
    await rm(folder, { recursive: true });
  });

  it("merged has the shapes that it was read with, and computes the same", async () => {
    await model.merge(join(folder, "merged"));
    const stored = await shapesOf(tinyModelFolder("gpt2"));
    expect(await shapesOf(join(folder, "merged"))).toEqual(stored);
    expect(stored.get("transformer.h.0.mlp.c_fc.weight")).toEqual([32, 36]);
  });

  it.each([{ name: "lora", rank: 2 }, { name: "ia3" }, { name: "vera", rank: 2 }] as const)(
    "adapted by $name has fan_in_fan_out and its own modules in the file",
    async (method) => {
      const adapted = await openTiny("gpt2", { method });
      await adapted.saveAdapter(join(folder, method.name));
      await adapted.dispose();
      const file = join(folder, method.name, "adapter_config.json");
      const config = JSON.parse(await readFile(file, "utf8"));
      expect(config.fan_in_fan_out).toBe(true);
      if (method.name !== "vera") expect(config.target_modules).toContain("c_attn");
      if (method.name === "ia3") expect(config.feedforward_modules).toEqual(["mlp.c_proj"]);
    },
  );

  it("refuses a text beyond its positions, but not padding there", async () => {
    const [long] = randomRows([66]);
    await expect(model.forward(batchOf([long!]))).rejects.toThrow("at most 64 tokens");
    const real = long!.map((_, t) => (t < 60 ? 1 : 0));
    const padded = await model.forward({ inputIds: [long!], attentionMask: [real] });
    const alone = await model.forward({ inputIds: [long!.slice(0, 60)] });
    expect(padded.logits.data.slice(0, alone.logits.data.length)).toEqual(alone.logits.data);
  });
});

it("a LLaMA's adapter has fan_in_fan_out off", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-gpt2-"));
  const model = await openModel(tinyModelFolder("base"), { threads: 1, method: { name: "ia3" } });
  await model.saveAdapter(folder);
  const config = JSON.parse(await readFile(join(folder, "adapter_config.json"), "utf8"));
  expect(config.fan_in_fan_out).toBe(false);
  expect(config.target_modules).toEqual(["k_proj", "v_proj", "down_proj"]);
  await model.dispose();
  await rm(folder, { recursive: true });
});
