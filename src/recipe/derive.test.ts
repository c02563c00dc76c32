// What is derived, from what, and that nothing written is ever overruled.

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { chooseRunFolder, deriveRecipe, type Facts } from "./derive.ts";
import { loadRecipe } from "./load.ts";
import type { RecipeInput } from "./schema.ts";

const facts: Facts = {
  context: { tokens: 8192, source: "config.json" },
  runFolder: { path: "/runs/mine-1", why: "the next free number" },
};

const input: RecipeInput = {
  model: { id: "owner/name" },
  data: { train: "owner/data" },
  method: { name: "lora", rank: 4 },
};

async function derive(change: Partial<RecipeInput> = {}, given = facts) {
  return deriveRecipe(await loadRecipe({ ...input, ...change }), given);
}

it("answers every open key with a reason", async () => {
  const { recipe, origins } = await derive();
  expect(recipe.data.maxLength).toBe(1024);
  const seeing = await derive({}, { ...facts, looksAtImages: true });
  expect(seeing.recipe.data.maxLength).toBe(2048);
  expect(recipe.method).toMatchObject({ alpha: 8 });
  expect(recipe.train).toMatchObject({ learningRate: 2e-4, keepBest: false });
  expect(recipe.output).toBe("/runs/mine-1");
  expect(origins.get("method.alpha")).toEqual({ kind: "derived", detail: "2 × rank" });
  expect(origins.get("train.keepBest")?.detail).toBe("no held-out data");
});

it("asks a method's options where its learning rate depends on them", async () => {
  const rateOf = async (projection: boolean) =>
    (await derive({ method: { name: "prefix", projection } })).recipe.train.learningRate;
  expect(await rateOf(false)).toBe(3e-2);
  expect(await rateOf(true)).toBe(1e-3);
});

it("follows the method and the model", async () => {
  const small = { ...facts, context: { tokens: 512, source: "config.json" } };
  const { recipe, origins } = await derive({ method: { name: "full" } }, small);
  expect(recipe.train.learningRate).toBe(2e-5);
  expect(recipe.data.maxLength).toBe(512);
  expect(origins.get("data.maxLength")).toEqual({ kind: "checkpoint", detail: "config.json" });
  expect(origins.has("method.alpha")).toBe(false);
});

it("quantises where the method, the recipe or the checkpoint says so", async () => {
  const modelOf = async (change: Partial<RecipeInput>, given = facts) => {
    const {
      id: _,
      dtype: __,
      arithmetic: ___,
      ...rest
    } = (await derive(change, given)).recipe.model;
    return rest;
  };
  const usual = { doubleQuantization: true, quantizationBlockSize: 64 };
  expect(await modelOf({})).toEqual({ quantization: "none" });
  expect(await modelOf({ method: { name: "qlora" } })).toEqual({ quantization: "nf4", ...usual });
  const model = { id: "owner/name", quantization: "fp4", doubleQuantization: false } as const;
  expect(await modelOf({ model })).toEqual({
    quantization: "fp4",
    ...usual,
    doubleQuantization: false,
  });
  const stored = { ...facts, quantized: "int8" } as const;
  for (const name of ["lora", "qlora"] as const)
    expect(await modelOf({ method: { name } }, stored)).toEqual({ quantization: "int8" });
  expect(await modelOf({ model: { id: "owner/name", arithmetic: "int8" } })).toEqual({
    quantization: "int8",
  });
  const rounded = { model: { id: "owner/name", arithmetic: "int8" } } as const;
  await expect(derive({ ...rounded, method: { name: "qlora" } })).rejects.toThrow(
    /nf4 \(usual for qlora\)[\s\S]*use method lora/,
  );
  await expect(derive({ ...rounded, method: { name: "lora", init: "loftq" } })).rejects.toThrow(
    /LoftQ's adapter belongs to the rounded weights/,
  );
  const fourBits = { model: { ...rounded.model, quantization: "fp4" } } as const;
  await expect(derive(fourBits)).rejects.toThrow(/kept as int8[\s\S]*fp4/);
  const contradiction = { model: { id: "owner/name", quantization: "none" } } as const;
  await expect(derive({ ...contradiction, method: { name: "qlora" } })).rejects.toThrow(
    /qlora is for a quantised model[\s\S]*use method lora/,
  );
});

it("leaves what is written", async () => {
  const { recipe, origins } = await derive({
    method: { name: "lora", alpha: 3 },
    output: "/elsewhere",
    train: { learningRate: 1 },
  });
  expect(recipe.method).toMatchObject({ alpha: 3 });
  expect(recipe.output).toBe("/elsewhere");
  expect(recipe.train.learningRate).toBe(1);
  expect(origins.get("train.learningRate")?.kind).toBe("recipe");
});

it("numbers run folders and finds the newest again", async () => {
  const parent = await mkdtemp(join(tmpdir(), "tunesmith-runs-"));
  const name = async (resume: boolean) =>
    (await chooseRunFolder("mine", { parent, resume })).path.slice(parent.length + 1);
  expect(await name(true)).toBe("mine-1");
  for (const folder of ["mine-2", "mine-10", "mine-x", "other-40"])
    await mkdir(join(parent, folder));
  expect(await name(false)).toBe("mine-11");
  // None of them has anything to resume.
  expect(await name(true)).toBe("mine-11");
  await mkdir(join(parent, "mine-2", "checkpoints", "step-000003"), { recursive: true });
  expect(await name(true)).toBe("mine-2");
  await rm(parent, { recursive: true });
});
