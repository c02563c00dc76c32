// What headers say of weights in memory is what the engine then holds.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openModel } from "../engine/load.ts";
import { type Packing, writePackedModel } from "../engine/testing/packed-model.ts";
import { openCheckpoint, type QuantizationOptions } from "../hub/index.ts";
import { architectureFor } from "../models/index.ts";
import { type Keeping, weightBytes } from "./weight-bytes.ts";

const CASES = join(import.meta.dirname, "../../tests/parity/cases");
const UNTIED = join(CASES, "llama/untied-head/model");
const TIED = join(CASES, "llama/base/model");
const BITSANDBYTES = join(CASES, "qlora/fp4/model");
const INT8: QuantizationOptions = { type: "int8" };
const NF4: QuantizationOptions = { type: "nf4", doubleQuantization: true, blockSize: 64 };

async function inspect(folder: string) {
  const checkpoint = await openCheckpoint(folder);
  await checkpoint.close();
  return { checkpoint, architecture: architectureFor(checkpoint.config, folder) };
}

async function told(folder: string, keeping: Keeping) {
  const { checkpoint, architecture } = await inspect(folder);
  return weightBytes(architecture, checkpoint, keeping);
}

it.each([
  [TIED, { dtype: "q4" }],
  [UNTIED, { dtype: "q8" }],
  [UNTIED, { dtype: "auto", quantization: NF4 }],
  [TIED, { dtype: "auto", quantization: INT8, arithmetic: "int8" }],
  [UNTIED, { dtype: "auto", quantization: INT8, arithmetic: "int8" }],
  [BITSANDBYTES, { dtype: "auto" }],
] as [string, Keeping][])("%s as %j", async (folder, keeping) => {
  const { held, reordered } = await told(folder, keeping);
  const model = await openModel(folder, { threads: 1, ...keeping });
  const inIntegers = keeping.arithmetic === "int8";
  if (inIntegers)
    for (const { name, role } of model.architecture.weights) {
      if (role === "linear") model.weights.integers(name);
      if (name === model.architecture.outputName) model.weights.integerRows(name);
    }
  expect(model.weights.bytes).toBe(held + (inIntegers ? reordered : 0));
  await model.dispose();
});

it.each([
  { method: "gptq", groupSize: 16 },
  { method: "gptq", groupSize: 32, isShuffled: true },
  { method: "awq", groupSize: 32 },
  { method: "gptq", groupSize: 16, bits: 8 },
] as Packing[])("a checkpoint of %j as its files have it, and in q4", async (packing) => {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-bytes-"));
  await writePackedModel(TIED, folder, packing);
  for (const dtype of ["auto", "q4", "float32"] as const) {
    const { held } = await told(folder, { dtype });
    const model = await openModel(folder, { threads: 1, dtype });
    expect(model.weights.bytes).toBe(held);
    await model.dispose();
  }
  if (packing.bits === undefined) {
    const training = await told(folder, { dtype: "auto" });
    const running = await told(folder, { dtype: "auto", isRun: true });
    expect(running.widened).toBeLessThan(training.widened);
    expect(running.reordered).toBeGreaterThan(training.reordered);
  }
  await rm(folder, { recursive: true });
});

it("has a second copy of what is multiplied in blocks, and widens nothing there", async () => {
  const { held, reordered, widened } = await told(UNTIED, { dtype: "q8" });
  expect(reordered).toBeGreaterThan(held / 2);
  expect(reordered).toBeLessThan(held);
  expect(widened).toBe(0);
});

it("makes room to widen a block's narrow weights, forward and backward", async () => {
  const { weights, dimensions } = (await inspect(TIED)).architecture;
  const linear = weights.filter(({ role }) => role === "linear");
  const size = linear.reduce((sum, { shape }) => sum + shape[0]! * shape[1]!, 0);
  const { widened } = await told(TIED, { dtype: "auto", quantization: NF4 });
  expect(widened).toBeCloseTo((2 * 4 * size) / dimensions.layers, 6);
  expect((await told(TIED, { dtype: "float32" })).widened).toBe(0);
});
