// A model that fills blanks through the real command: what it is shown, that it learns, and that what it
// learned comes back in generation.

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { writeTinyGlm, writeTinyIcetkGlm } from "../src/recipe/testing/tiny-glm.ts";

const PROGRAM = join(import.meta.dirname, "..", "bin", "tunesmith.mjs");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-blanks-"));
  await writeTinyGlm(join(folder, "model"));
});
afterAll(() => rm(folder, { recursive: true }));

async function tunesmith(...args: string[]) {
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", FORCE_COLOR: "" },
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (err += chunk));
  const code = await new Promise((resolve) => child.on("close", resolve));
  return { code, out, err };
}

const write = (name: string, text: string) => writeFile(join(folder, name), text);
const lines = (records: readonly object[]) => records.map((r) => JSON.stringify(r)).join("\n");

it("learns what fills a blank, at the end of a prompt and within it", async () => {
  const records = Array.from({ length: 8 }, (_, i) => [
    { prompt: `${i} of A is`, completion: "one" },
    { prompt: `${i} of B is`, completion: "two" },
    { prompt: `A [MASK] ${i}`, completion: "has" },
  ]).flat();
  await write("train.jsonl", lines(records));
  await write(
    "recipe.yaml",
    "model: ./model\ndata: { train: train.jsonl, eval: train.jsonl }\nmethod: full\n" +
      "train: { epochs: 12, batchSize: 8, learningRate: 0.01 }\noutput: runs/one\n",
  );
  const preview = await tunesmith("data", "preview", "recipe.yaml", "--samples", "3");
  expect(preview.code, preview.err).toBe(0);
  expect(preview.out).toContain("0 of A is[gMASK]<sop>⟦one<eop>⟧");
  expect(preview.out).toContain("A [MASK] 0</s><sop>⟦has<eop>⟧");
  expect((await tunesmith("plan", "recipe.yaml")).out).toContain("<sop>");

  const trained = await tunesmith("train", "recipe.yaml");
  expect(trained.code, trained.err).toBe(0);
  const [, before, after] = /held-out loss ([\d.]+) before, ([\d.]+) after/.exec(trained.out)!;
  expect(Number(after)).toBeLessThan(0.1 * Number(before));
  const report = await tunesmith("eval", "recipe.yaml", "--json");
  expect(JSON.parse(report.out).adapted.loss).toBeCloseTo(Number(after), 3);

  const ask = async (prompt: string) => {
    const told = ["generate", "--model", "runs/one/adapter", "--raw", "--max-new-tokens", "8"];
    return (await tunesmith(...told, prompt)).out.trim();
  };
  expect(await ask("3 of A is")).toMatch(/one$/);
  expect(await ask("3 of B is")).toMatch(/two$/);
  expect(await ask("A [MASK] 5")).toMatch(/has$/);
}, 120_000);

it("blanks texts, cuts long ones, and packs them", async () => {
  const texts = Array.from({ length: 30 }, (_, i) => ({
    text: "the cat sat on a mat ".repeat(1 + (i % 5)),
  }));
  await write("texts.jsonl", lines(texts));
  await write(
    "texts.yaml",
    "model: ./model\ndata: { train: texts.jsonl, eval: 0.2, maxLength: 48, packing: true }\n" +
      "method: full\ntrain: { epochs: 3, batchSize: 4, learningRate: 0.01 }\noutput: runs/texts\n",
  );
  const preview = await tunesmith("data", "preview", "texts.yaml", "--samples", "30");
  expect(preview.code, preview.err).toBe(0);
  expect(preview.out).toMatch(/\[gMASK\]<sop>⟦/);
  expect(preview.out).toMatch(/\[MASK\].*<\/s><sop>⟦.*<eop>⟧/);
  expect(preview.out).toMatch(/ split/);
  expect((await tunesmith("data", "preview", "texts.yaml", "--samples", "30")).out).toBe(
    preview.out,
  );
  const other = ["data", "preview", "texts.yaml", "--samples", "30", "--train.seed", "1"];
  expect((await tunesmith(...other)).out).not.toBe(preview.out);
  const trained = await tunesmith("train", "texts.yaml");
  expect(trained.code, trained.err).toBe(0);
  const [, before, after] = /held-out loss ([\d.]+) before, ([\d.]+) after/.exec(trained.out)!;
  expect(Number(after)).toBeLessThan(0.8 * Number(before));
}, 120_000);

it("refuses to train on contexts", async () => {
  const refused = await tunesmith("data", "preview", "texts.yaml", "--data.loss", "all");
  expect(refused.code).toBe(1);
  expect(refused.err).toMatch(/data\.loss[\s\S]*fills blanks[\s\S]*loss: auto/);
});

it("reads and writes icetk's texts, Chinese ones too, and takes its tokenizer along", async () => {
  await writeTinyIcetkGlm(join(folder, "icetk"));
  const records = [
    { prompt: "北京是", completion: "首都。\n" },
    { prompt: "The dog [MASK] lazy", completion: "is  not" },
  ];
  await write("icetk.jsonl", lines(records));
  await write(
    "icetk.yaml",
    "model: ./icetk\ndata: { train: icetk.jsonl, eval: icetk.jsonl }\nmethod: full\n" +
      "train: { epochs: 30, batchSize: 2, learningRate: 0.01 }\noutput: runs/icetk\n",
  );
  const preview = await tunesmith("data", "preview", "icetk.yaml");
  expect(preview.out).toContain("北京是[gMASK]<sop>⟦");
  const trained = await tunesmith("train", "icetk.yaml");
  expect(trained.code, trained.err).toBe(0);
  const ask = async (prompt: string) => {
    const told = ["generate", "--model", "runs/icetk/adapter", "--max-new-tokens", "12", prompt];
    return (await tunesmith(...told)).out.trim();
  };
  expect(await ask("北京是")).toMatch(/首都。$/);
  expect(await ask("The dog [MASK] lazy")).toMatch(/is {2}not$/);
}, 120_000);
