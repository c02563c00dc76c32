// A processor without exact products of 8-bit integers: what asks for them is refused before a weight
// is read, and nothing that was opened stays open.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { openModel } from "../engine/load.ts";
import { planRecipe } from "./plan.ts";
import { tinyChats, writeTinyModel } from "./testing/tiny-model.ts";

const runtimes = vi.hoisted(() => ({ open: 0 }));
vi.mock("../runtime/integer-products.ts", () => ({
  checkIntegerProducts: () => Promise.reject(new Error("sums are cut off")),
}));
vi.mock("../runtime/kernel.ts", async (original) => {
  const kernel = await original<typeof import("../runtime/kernel.ts")>();
  const createRuntime: typeof kernel.createRuntime = (options) => {
    const runtime = kernel.createRuntime(options);
    runtimes.open++;
    return { ...runtime, dispose: () => runtime.dispose().finally(() => runtimes.open--) };
  };
  return { ...kernel, createRuntime };
});

let folder: string;
const model = () => join(folder, "model");
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-integers-"));
  await writeTinyModel(model());
  await writeTinyModel(join(folder, "whole"));
  await writeFile(join(folder, "train.jsonl"), tinyChats(4));
  // Reading the weights of such a model ends with an error of its own.
  const file = join(model(), "config.json");
  const config = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, JSON.stringify({ ...config, intermediate_size: 40 }));
});
beforeEach(() => {
  runtimes.open = 0;
});
afterAll(() => rm(folder, { recursive: true }));

it("is refused before weights are read", async () => {
  const opening = openModel(model(), { arithmetic: "int8", threads: 1 });
  await expect(opening).rejects.toThrow("sums are cut off");
  expect(runtimes.open).toBe(0);
});

it("is refused by a plan", async () => {
  const recipe = {
    model: { path: join(folder, "whole"), arithmetic: "int8" },
    data: { train: join(folder, "train.jsonl") },
    method: { name: "lora" },
    compute: { threads: 1 },
    output: join(folder, "run"),
  } as const;
  await expect(planRecipe(recipe)).rejects.toThrow("sums are cut off");
  expect(runtimes.open).toBe(0);
  const exact = { ...recipe, model: { path: recipe.model.path } };
  expect((await planRecipe(exact)).productSpeed).toBeGreaterThan(0);
  expect(runtimes.open).toBe(0);
});

it.each([
  ["weights that do not fit", {}, "asks for a tensor of shape"],
  ["a method that does not fit", { method: { name: "lora", targets: ["q_prj"] } }, "q_prj"],
] as const)("leaves nothing open behind %s", async (_, options, message) => {
  await expect(openModel(model(), { ...options, threads: 1 })).rejects.toThrow(message);
  expect(runtimes.open).toBe(0);
});
