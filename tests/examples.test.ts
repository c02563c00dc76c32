// Every example runs, on a small model, and does what its first lines say.

import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createSandbox, type Sandbox } from "./testing/sandbox.ts";

const EXAMPLES = join(import.meta.dirname, "..", "examples");
const MODEL = "my-model";

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await createSandbox();
  await writeFile(
    join(sandbox.folder, "recipe.yaml"),
    `model: ./${MODEL}\ndata: { train: train.jsonl, eval: 0.2 }\nmethod: { name: lora, rank: 4 }\n` +
      "train: { epochs: 2, learningRate: 0.02 }\noutput: runs/recipe\n",
  );
});
afterAll(() => sandbox.remove());

const tested = new Set<string>();

/** A test of one example; tests run in this order, and later ones use what earlier ones wrote. */
function example(name: string, args: string[], check: (out: string) => void | Promise<void>): void {
  tested.add(`${name}.ts`);
  it(`${name} works`, async () => {
    const { code, out, err } = await sandbox.node(join(EXAMPLES, `${name}.ts`), ...args);
    expect(code, err).toBe(0);
    await check(out);
  }, 180_000);
}

const numbers = (pattern: RegExp, text: string) =>
  [...text.matchAll(pattern)].map((match) => Number(match[1]));
const inSandbox = (path: string) => join(sandbox.folder, path);

example("train-from-recipe", ["recipe.yaml"], (out) => {
  const losses = numbers(/held-out loss ([\d.]+)/g, out);
  expect(losses.length).toBe(3);
  expect(losses.at(-1)).toBeLessThan(0.9 * losses[0]!);
  expect(existsSync(inSandbox("runs/recipe/adapter/adapter_model.safetensors"))).toBe(true);
});

example("train-with-events", [MODEL, "train.jsonl", "runs/events"], (out) => {
  expect(numbers(/step (\d)\/6/g, out)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(out).toContain("everything up to step 3 is saved");
  expect(existsSync(inSandbox("runs/events/adapter/adapter_config.json"))).toBe(true);
});

example("custom-loop", [MODEL, "runs/custom"], (out) => {
  const losses = numbers(/loss ([\d.]+)/g, out);
  expect(losses.at(-1)).toBeLessThan(0.7 * losses[0]!);
});

const CASES = join(import.meta.dirname, "parity", "cases");
const PEFT_ADAPTER = join(CASES, "lora/q-v/adapter");

example("edit-adapter", [MODEL, PEFT_ADAPTER, "edited"], async (out) => {
  expect(out).toContain("self_attn.q_proj.lora_A.weight [");
  const [before, after] = await Promise.all(
    [PEFT_ADAPTER, inSandbox("edited")].map((folder) =>
      readFile(join(folder, "adapter_model.safetensors")),
    ),
  );
  expect(after!.length).toBe(before!.length);
  expect(after!.equals(before!)).toBe(false);
});

example("quantised-base", [MODEL, "merged-quantised"], (out) => {
  const losses = numbers(/loss ([\d.]+)/g, out);
  expect(losses.at(-1)).toBeLessThan(0.9 * losses[0]!);
  const [moved, again] = numbers(/by ([\d.]+) %/g, out);
  expect(moved).toBeGreaterThan(0);
  // About all of it: weights snap back to where they were.
  expect(again).toBeGreaterThan(0.5 * moved!);
});

example("merge-adapter", [MODEL, "runs/custom", "merged"], (out) => {
  expect(numbers(/largest difference of a logit: (\S+)/g, out)[0]).toBeLessThan(1e-4);
  expect(existsSync(inSandbox("merged/model.safetensors"))).toBe(true);
});

example("many-adapters", [MODEL, "runs/recipe/adapter", PEFT_ADAPTER], (out) => {
  expect(out).toMatch(/^a: .*\nb: .*\nbase: /);
  const differences = numbers(/differ by (\S+)$/gm, out);
  expect(differences.length).toBe(3);
  expect(Math.max(...differences)).toBeLessThan(1e-3);
  expect(differences[2]).toBe(0);
});

example("many-requests", [MODEL, "runs/recipe/adapter"], (out) => {
  expect(out).toMatch(/^first: [1-4] pieces$/m);
  expect(out).toMatch(/^second: 16 tokens/m);
  expect(out).toMatch(/^third: 8 tokens/m);
  expect(out).toMatch(/^endless: not needed any more$/m);
  const [late, alone] = [/^late: 6 tokens: (".*")$/m, /^late, alone: (".*")$/m].map(
    (line) => line.exec(out)?.[1],
  );
  expect(late?.length).toBeGreaterThan(2);
  expect(late).toBe(alone);
});

example("structured-answers", [MODEL], (out) => {
  expect(out).toMatch(/^It is cold in the kitchen\. (complete|stop-token): \{.+\}$/m);
  expect(out).toMatch(/^Is it\? (complete|stop-token): (yes|no)(, certainly)?$/m);
  expect(out).toMatch(/^When\? complete: [0-2]\d:[0-5]\d$/m);
  expect(out).toMatch(/^(light|heating) in [0-2] rooms$/m);
});

example(
  "convert-adapter",
  [MODEL, "runs/recipe/adapter", PEFT_ADAPTER, "converted"],
  async (out) => {
    const [a, b, both, small] = numbers(/, (\d+) numbers/g, out) as [
      number,
      number,
      number,
      number,
    ];
    expect(both).toBe(a + b);
    expect(small).toBeLessThan(both);
    const gguf = await readFile(inSandbox("converted/small.gguf"));
    expect(gguf.subarray(0, 4).toString("latin1")).toBe("GGUF");
    expect(gguf.length).toBeGreaterThan(4 * small);
  },
);

example("check-gradients", [MODEL], (out) => {
  const differences = numbers(/\((\S+)\)$/gm, out);
  expect(differences.length).toBe(4);
  expect(Math.max(...differences)).toBeLessThan(2e-3);
});

example("generate-with-adapter", [MODEL, "runs/custom"], (out) => {
  const texts = [...out.matchAll(/^(.+), (likeliest|drawn): (.+)$/gm)];
  expect(texts.length).toBe(8);
  const likeliest = texts.filter(([, , how]) => how === "likeliest").map(([, , , text]) => text);
  expect(likeliest.slice(0, 2)).not.toEqual(likeliest.slice(2));
});

example("chat", [MODEL, "runs/recipe/adapter"], (out) => {
  expect(out).toMatch(/^say 3 → .+\nsay 4 → .+\n$/);
});

example("look-at-images", ["my-vision-model", "photos.jsonl", "photo.jpg"], (out) => {
  const losses = numbers(/loss ([\d.]+)/g, out);
  expect(losses.at(-1)).toBeLessThan(0.9 * losses[0]!);
  expect(out).toMatch(/step \d+ loss [\d.]+\n.+\n$/);
});

it("leaves no example out", async () => {
  const files = (await readdir(EXAMPLES)).filter((name) => name.endsWith(".ts"));
  expect([...tested].sort()).toEqual(files.sort());
});

it("keeps each example on a page", async () => {
  for (const name of tested) {
    const text = await readFile(join(EXAMPLES, name), "utf8");
    expect(text.split("\n").length, name).toBeLessThanOrEqual(51);
  }
});
