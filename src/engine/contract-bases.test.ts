// Every method once over a base in 4 bits, made here or by GPTQ, and once over one in 16: what it declares, how it starts, its
// gradient and that it learns do not depend on how the frozen weights are kept.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type MethodOptions, methodNames } from "../methods/index.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { openModel } from "./load.ts";
import { batch } from "./testing/contract-batches.ts";
import { expectLearning, expectOwnTensors, slopeError } from "./testing/contract-checks.ts";
import { logitsOf, openingOf, openWith } from "./testing/contract-subjects.ts";
import { writeHalfModel } from "./testing/half-model.ts";
import { METHODS } from "./testing/method-entries.ts";
import { writePackedModel } from "./testing/packed-model.ts";
import { openTiny, tinyModelFolder } from "./testing/tiny-models.ts";

/** What these train is what would be quantised. */
const TRAIN_WEIGHTS: readonly MethodOptions["name"][] = ["full", "freeze"];

const NF4 = { quantization: { type: "nf4" } } as const;
const first = (name: MethodOptions["name"]) => METHODS[name][0]!;

/** Of each base: its folder, once it is written, and the entries that it allows. */
const folders = { "4 bits": tinyModelFolder("base"), "GPTQ's 4 bits": "", "16 bits": "" };
const overFrozen = methodNames.filter((name) => !TRAIN_WEIGHTS.includes(name));
const AS_IT_IS = { quantization: undefined };
const subjects = [
  ...overFrozen.map((name) => ({
    name,
    base: "4 bits" as const,
    entry: { ...first(name), ...NF4 },
  })),
  ...overFrozen.map((name) => ({
    name,
    base: "GPTQ's 4 bits" as const,
    entry: { ...first(name), ...AS_IT_IS },
  })),
  ...methodNames.map((name) => ({ name, base: "16 bits" as const, entry: first(name) })),
];

let parent: string;
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "tunesmith-bases-"));
  const newFolder = () => mkdtemp(join(parent, "model-"));
  folders["GPTQ's 4 bits"] = await newFolder();
  // Attention alone: the 36 columns of the feed-forward fill no words, and stay in 16 bits.
  const packing = { method: "gptq", groupSize: 16 } as const;
  await writePackedModel(tinyModelFolder("base"), folders["GPTQ's 4 bits"], packing);
  folders["16 bits"] = await newFolder();
  await writeHalfModel(tinyModelFolder("base"), folders["16 bits"]);
});
afterAll(() => rm(parent, { recursive: true }));

it.each(subjects)("$name over $base starts, points and learns", async ({ base, entry }) => {
  const folder = folders[base];
  const model = await openModel(folder, openingOf(entry));
  try {
    expectOwnTensors(model);
    if (entry.startsAsBase) {
      const plain = await openModel(folder, { quantization: entry.quantization, threads: 1 });
      expect(arrayDifference(await logitsOf(model), await logitsOf(plain))).toBeLessThan(1e-6);
      await plain.dispose();
    }
    if (!entry.withoutSlope) expect(await slopeError(model, batch)).toBeLessThan(0.01);
    await expectLearning(model, entry.learningRate);
  } finally {
    await model.dispose();
  }
});

it.each(TRAIN_WEIGHTS)("a base in 4 bits is refused by %s, which would change it", async (name) => {
  const entry = { ...first(name), ...NF4 };
  await expect(openWith("base", entry)).rejects.toThrow("quantised weights are frozen");
});

it("all bases compute other logits than the weights in 32 bits, and take less memory", async () => {
  const [plain, ...others] = [
    await openTiny("base"),
    await openTiny("base", NF4),
    await openModel(folders["GPTQ's 4 bits"], { threads: 1 }),
    await openModel(folders["16 bits"], { threads: 1 }),
  ];
  const expected = await logitsOf(plain!);
  for (const other of others) {
    expect(arrayDifference(await logitsOf(other), expected)).toBeGreaterThan(1e-5);
    expect(other.weights.bytes).toBeLessThan(0.9 * plain!.weights.bytes);
    await other.dispose();
  }
  await plain!.dispose();
});
