// `tunesmith adapter` on adapters of classifiers, through the real command: LoRAs with a head that was trained
// as a whole beside them.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTinyModel } from "../src/recipe/testing/tiny-model.ts";

const PROGRAM = join(import.meta.dirname, "..", "bin", "tunesmith.mjs");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-classifiers-"));
  await writeTinyModel(join(folder, "model"));
  const records = Array.from({ length: 24 }, (_, i) => ({
    text: `${"abcdef".slice(i % 5)} ${i}`,
    label: i % 2 === 0 ? "warm" : "cold",
  }));
  await writeFile(
    join(folder, "train.jsonl"),
    records.map((one) => JSON.stringify(one)).join("\n"),
  );
  for (const method of ["lora", "ia3"]) {
    const recipe = [
      "model: ./model",
      "data: { train: train.jsonl, eval: 0.25 }",
      `method: ${method === "lora" ? "{ name: lora, rank: 4, targets: [q_proj, v_proj, up_proj] }" : "ia3"}`,
      "objective: classification",
      "train: { epochs: 2, learningRate: 0.02, batchSize: 8 }",
      `output: runs/${method}`,
    ];
    await writeFile(join(folder, `${method}.yaml`), recipe.join("\n"));
    const trained = await tunesmith("train", `${method}.yaml`);
    expect(trained.code, trained.err).toBe(0);
  }
});
afterAll(() => rm(folder, { recursive: true }));

function tunesmith(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "" },
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk) => {
    out += chunk;
  });
  child.stderr.on("data", (chunk) => {
    err += chunk;
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
}

/** Held-out loss of an adapter. */
async function lossOf(adapter: string, recipe = "lora.yaml"): Promise<number> {
  const { out, err } = await tunesmith("eval", recipe, "--adapter", adapter, "--json");
  expect(err).not.toContain("✗");
  return JSON.parse(out).adapted.loss;
}

const configOf = async (adapter: string) =>
  JSON.parse(await readFile(join(folder, adapter, "adapter_config.json"), "utf8"));

const adapter = "runs/lora/adapter";

it("shows modules and head", async () => {
  const { code, out, err } = await tunesmith("adapter", "show", adapter);
  expect(code, err).toBe(0);
  expect(out).toMatch(/q_proj +2 +4/);
  expect(out).toMatch(/score +1 /);
  expect(out).toMatch(/labels +cold, warm/);
  const { out: json } = await tunesmith("adapter", "show", adapter, "--json");
  const { labels, parts } = JSON.parse(json);
  expect(labels).toEqual(["cold", "warm"]);
  expect(parts.map(({ name }: { name: string }) => name)).toContain("score");
});

describe("converting", () => {
  it.each([
    ["to another rank, without the model", ["--rank", "4"], 1e-5],
    ["to a smaller one", ["--energy", "0.9999"], 1e-2],
  ])("%s, keeps head and labels", async (_, how, tolerance) => {
    const out = `converted-${how[1]}`;
    const done = await tunesmith(
      "adapter",
      "convert",
      adapter,
      "--to",
      "lora",
      ...how,
      "--out",
      out,
    );
    expect(done.code, done.err).toBe(0);
    expect(await configOf(out)).toMatchObject({ task_type: "SEQ_CLS", modules_to_save: ["score"] });
    const [before, after] = [await lossOf(adapter), await lossOf(out)];
    expect(Math.abs(after - before)).toBeLessThan(tolerance);
  });

  it("makes a LoRA of another method", async () => {
    const args = ["--to", "lora", "--rank", "16", "--model", "model", "--out", "from-ia3"];
    const done = await tunesmith("adapter", "convert", "runs/ia3/adapter", ...args);
    expect(done.code, done.err).toBe(0);
    expect(await configOf("from-ia3")).toMatchObject({
      peft_type: "LORA",
      task_type: "SEQ_CLS",
      modules_to_save: ["score"],
    });
    const before = await lossOf("runs/ia3/adapter", "ia3.yaml");
    expect(Math.abs((await lossOf("from-ia3")) - before)).toBeLessThan(1e-3);
  });

  it("to gguf is refused: llama.cpp has no place for a head", async () => {
    const args = ["--to", "gguf", "--model", "model", "--out", "x.gguf"];
    const { code, err } = await tunesmith("adapter", "convert", adapter, ...args);
    expect(code).toBe(1);
    expect(err).toMatch(/score[\s\S]*a classifier's head[\s\S]*fix/);
  });
});

it("does not merge several: their heads are each its own", async () => {
  const args = ["adapter", "merge", adapter, adapter, "--out", "both"];
  const { code, err } = await tunesmith(...args);
  expect(code).toBe(1);
  expect(err).toMatch(/a classifier's head[\s\S]*tunesmith merge/);
});

it("becomes part of its model, which judges as before", async () => {
  const merged = await tunesmith(
    "merge",
    "--model",
    "model",
    "--adapter",
    adapter,
    "--out",
    "merged",
  );
  expect(merged.code, merged.err).toBe(0);
  const { out } = await tunesmith("eval", "lora.yaml", "--model", "merged", "--json");
  expect(JSON.parse(out).base.loss).toBeCloseTo(await lossOf(adapter), 4);
});

it("is refused by commands that continue texts", async () => {
  const args = ["generate", "--model", "model", "--adapter", adapter, "--max-new-tokens", "2", "a"];
  const { code, err } = await tunesmith(...args);
  expect(code).toBe(1);
  expect(err).toMatch(/classif/);
});
