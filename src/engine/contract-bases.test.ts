// Every method once over a base in 4 bits, and once over one in 16: what it declares, how it starts, its
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
import { openTiny, tinyModelFolder } from "./testing/tiny-models.ts";

/** What these train is what would be quantised. */
const TRAIN_WEIGHTS: readonly MethodOptions["name"][] = ["full", "freeze"];

const NF4 = { quantization: { type: "nf4" } } as const;
const first = (name: MethodOptions["name"]) => METHODS[name][0]!;

/** Of each base: its folder, once it is written, and the entries that it allows. */
const folders = { "4 bits": tinyModelFolder("base"), "16 bits": "" };
const subjects = [
  ...methodNames
    .filter((name) => !TRAIN_WEIGHTS.includes(name))
    .map((name) => ({ name, base: "4 bits" as const, entry: { ...first(name), ...NF4 } })),
  ...methodNames.map((name) => ({ name, base: "16 bits" as const, entry: first(name) })),
];

beforeAll(async () => {
  folders["16 bits"] = await mkdtemp(join(tmpdir(), "tunesmith-half-"));
  await writeHalfModel(tinyModelFolder("base"), folders["16 bits"]);
});
afterAll(() => rm(folders["16 bits"], { recursive: true }));

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

it("both bases compute other logits than the weights in 32 bits, and take less memory", async () => {
  const [plain, ...others] = [
    await openTiny("base"),
    await openTiny("base", NF4),
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
