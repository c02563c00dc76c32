// Which classifier a recipe's objective makes of its model, and what does not go with it.

import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadModel } from "../api/index.ts";
import type { TrainEvent } from "../train/events.ts";
import { prepare } from "./prepare.ts";
import type { RecipeInput } from "./schema.ts";
import { writeTinyModel } from "./testing/tiny-model.ts";
import { train } from "./train.ts";

let folder: string;
let judging: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-objective-"));
  await writeTinyModel(join(folder, "model"));
  const records = Array.from({ length: 24 }, (_, i) => ({
    text: "abcdef".slice(i % 5),
    label: i % 2 === 0 ? "warm" : "cold",
    many: i % 3 === 0 ? ["warm", "loud"] : [],
    value: i / 10,
  }));
  const lines = records.map((record) => JSON.stringify(record));
  await writeFile(join(folder, "train.jsonl"), lines.join("\n"));
  judging = join(folder, "judging");
  await using model = await loadModel(join(folder, "model"), {
    classifier: { labels: ["cold", "warm"] },
    trainable: true,
  });
  await mkdir(judging);
  await model.merge(judging);
});
afterAll(() => rm(folder, { recursive: true }));

const recipe = (
  objective: RecipeInput["objective"],
  data: Partial<RecipeInput["data"]> = {},
  model = join(folder, "model"),
): RecipeInput => ({
  model: { path: model },
  data: { train: join(folder, "train.jsonl"), eval: 0.25, ...data },
  method: { name: "lora", rank: 2 },
  objective,
  train: { epochs: 1, batchSize: 4, learningRate: 0.01, seed: 3 },
  output: join(folder, "run"),
});

async function prepared(source: RecipeInput) {
  const result = await prepare(source);
  await result.checkpoint.close();
  return result;
}

const DATA = "found in the training data";

describe("labels", () => {
  it.each<[string, RecipeInput["objective"], column: string, string[], string]>([
    ["those of the data", { name: "classification" }, "label", ["cold", "warm"], DATA],
    ["of several", { name: "classification", multiple: true }, "many", ["loud", "warm"], DATA],
    ["one value", { name: "regression" }, "value", ["score"], "usual for regression"],
  ])("are %s", async (_, objective, label, labels, why) => {
    const source = recipe(objective, { columns: { label } });
    const { classifier, recipe: resolved, origins } = await prepared(source);
    expect(classifier?.labels).toEqual(labels);
    expect(resolved.objective.labels).toEqual(labels);
    expect(origins.get("objective.labels")?.detail).toBe(why);
  });

  it("are the recipe's before all others, in its order", async () => {
    const { classifier } = await prepared(
      recipe({ name: "classification", labels: ["warm", "cold", 7] }),
    );
    expect(classifier?.labels).toEqual(["warm", "cold", "7"]);
  });

  it("are a classifier's own", async () => {
    const { classifier, origins } = await prepared(recipe({ name: "classification" }, {}, judging));
    expect(classifier?.labels).toEqual(["cold", "warm"]);
    expect(origins.get("objective.labels")?.kind).toBe("checkpoint");
  });
});

describe("faults", () => {
  it.each<[string, RecipeInput["objective"], Partial<RecipeInput["data"]>, string]>([
    ["labels for sft", { name: "sft", labels: ["a", "b"] }, {}, "objective.labels"],
    ["several values", { name: "regression", multiple: true }, {}, "objective.multiple"],
    ["packing", { name: "classification" }, { packing: true }, "data.packing"],
    ["a loss mode", { name: "classification" }, { loss: "all" }, "data.loss"],
    [
      "texts cut into pieces",
      { name: "classification" },
      { truncation: "split" },
      "data.truncation",
    ],
    ["a single label", { name: "classification", labels: ["a"] }, {}, "at least two labels"],
    [
      "no labels at all",
      { name: "classification" },
      { columns: { label: "mood" } },
      "no mood among",
    ],
  ])("%s", async (_, objective, data, seen) => {
    await expect(prepared(recipe(objective, data))).rejects.toThrow(seen);
  });

  it("a model that does something else", async () => {
    await expect(prepared(recipe({ name: "sft" }, {}, judging))).rejects.toThrow(
      "a classifier of cold, warm",
    );
    const others = recipe({ name: "classification", labels: ["a", "b"] }, {}, judging);
    await expect(prepared(others)).rejects.toThrow("a, b instead of cold, warm");
  });
});

it("trains to the same end in one go and in two", async () => {
  const events = async (source: RecipeInput, resume = false) => {
    const seen: TrainEvent[] = [];
    for await (const event of train(source, { resume })) seen.push(event);
    return seen;
  };
  const whole = recipe({ name: "classification" });
  const first = (await events({ ...whole, output: join(folder, "whole") })).at(-1)!;
  const stop = new AbortController();
  for await (const event of train(
    { ...whole, output: join(folder, "two") },
    { signal: stop.signal },
  ))
    if (event.type === "step-finished" && event.step === 2) stop.abort();
  const second = await events({ ...whole, output: join(folder, "two") }, true);
  expect(second[0]).toMatchObject({ type: "run-started", resumedFromStep: 2 });
  const weights = (run: string) => readFile(join(folder, run, "adapter/adapter_model.safetensors"));
  expect(first).toMatchObject({ labels: ["cold", "warm"] });
  expect((await weights("two")).equals(await weights("whole"))).toBe(true);
});
