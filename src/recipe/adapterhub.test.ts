// AdapterHub's methods through a recipe: trained, talked to, fused, and refused where they do not fit.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { MethodOptions } from "../methods/index.ts";
import { openConversation } from "./conversation.ts";
import { prepare } from "./prepare.ts";
import type { RecipeInput } from "./schema.ts";
import { tinyChats, writeTinyModel } from "./testing/tiny-model.ts";
import { train } from "./train.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-adapterhub-"));
  await writeTinyModel(join(folder, "model"));
  await writeFile(join(folder, "train.jsonl"), tinyChats(8));
});
afterAll(() => rm(folder, { recursive: true }));

const recipeOf = (method: MethodOptions, run: string, packing = false) =>
  ({
    model: { path: join(folder, "model") },
    data: { train: join(folder, "train.jsonl"), packing },
    method,
    train: { maxSteps: 2 },
    compute: { threads: 1 },
    output: join(folder, run),
  }) as RecipeInput;

/** The adapter's folder. */
async function trained(method: MethodOptions, run: string): Promise<string> {
  for await (const event of train(recipeOf(method, run)))
    if (event.type === "step-finished") expect(Number.isFinite(event.loss)).toBe(true);
  return join(folder, run, "adapter");
}

async function answerWith(adapter: string): Promise<string> {
  const conversation = await openConversation({ model: join(folder, "model"), adapter });
  try {
    let text = "";
    const hello = { role: "user", content: "hello" };
    for await (const piece of conversation.answer([hello], { maxNewTokens: 6, temperature: 0 }))
      text += piece;
    return text;
  } finally {
    await conversation.dispose();
  }
}

it("a gated union is trained and talks", async () => {
  const adapter = await trained({ name: "unipelt" }, "union");
  expect(await answerWith(adapter)).not.toBe("");
  const card = await readFile(join(adapter, "README.md"), "utf8");
  expect(card).toContain("load_adapter(");
});

it("a gated union is not packed, and an ungated one is", async () => {
  await expect(prepare(recipeOf({ name: "unipelt" }, "packed", true))).rejects.toThrow(
    /data\.packing[\s\S]*gates average over whole rows/,
  );
  const prepared = await prepare(recipeOf({ name: "unipelt", preset: "mam" }, "packed", true));
  await prepared.checkpoint.close();
});

it("adapters that were trained apart are fused", async () => {
  const adapters = [
    await trained({ name: "adapter", reductionFactor: 8, adapterName: "one" }, "one"),
    await trained({ name: "adapter", reductionFactor: 4, adapterName: "two" }, "two"),
  ];
  const fused = await trained({ name: "adapter-fusion", adapters }, "fused");
  expect(await answerWith(fused)).not.toBe("");
  expect(await readFile(join(fused, "README.md"), "utf8")).toContain("load_adapter_setup(");
  const missing = { name: "adapter-fusion", adapters: [adapters[0]!, join(folder, "three")] };
  await expect(prepare(recipeOf(missing as MethodOptions, "missing"))).rejects.toThrow(
    /method\.adapters\.1[\s\S]*an adapter's folder must exist/,
  );
});
