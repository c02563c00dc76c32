// Checkpoints of GPTQ and AWQ as bases: their own codes in memory, under training, in decoding and in q4; what
// is widened instead, and what is refused.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Int4Tensor, openCheckpoint, quantizedBytes } from "../hub/index.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { sizeOf } from "../tensor/index.ts";
import { createDecoder } from "./decoding/decoder.ts";
import { type EngineModel, type OpenOptions, openModel } from "./load.ts";
import { type Packing, writePackedModel, writeWiderModel } from "./testing/packed-model.ts";
import {
  batchOf,
  differentiate,
  randomRows,
  type TinyModel,
  tinyModelFolder,
} from "./testing/tiny-models.ts";

const QUERY = "model.layers.0.self_attn.q_proj.weight";
const LORA = { name: "lora", rank: 4, targets: "all-linear" } as const;
const rows = randomRows([11, 11], 3);
/** Root mean square, as a share, of how far numbers are from others. */
function distance(own: readonly Float32Array[], exact: readonly Float32Array[]): number {
  let [error, size] = [0, 0];
  for (const [i, values] of exact.entries())
    for (const [k, value] of values.entries()) {
      error += (own[i]![k]! - value) ** 2;
      size += value ** 2;
    }
  return Math.sqrt(error / size);
}

let parent: string;
beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "tunesmith-packed-"));
});
afterAll(() => rm(parent, { recursive: true }));

const newFolder = () => mkdtemp(join(parent, "model-"));

async function plainModel(model: TinyModel = "base"): Promise<string> {
  const folder = await newFolder();
  await writeWiderModel(tinyModelFolder(model), folder);
  return folder;
}

async function packed(packing: Packing, source?: string): Promise<string> {
  const folder = await newFolder();
  await writePackedModel(source ?? (await plainModel()), folder, packing);
  return folder;
}

const open = (folder: string, options: OpenOptions = {}) =>
  openModel(folder, { threads: 1, seed: 5, ...options });

/** Logits behind each token of a row. */
async function decoded(model: EngineModel, tokens: readonly number[]): Promise<Float32Array[]> {
  const decoder = createDecoder(model);
  const logits: Float32Array[] = [];
  for (const token of tokens) logits.push((await decoder.append([[token]]))[0]!.slice());
  return logits;
}

const LAYOUTS: Readonly<Record<string, Packing>> = {
  GPTQ: { method: "gptq", groupSize: 16 },
  "GPTQ, symmetric": { method: "gptq", groupSize: 32, isSymmetric: true },
  "GPTQ by importance": { method: "gptq", groupSize: 16, isShuffled: true },
  AWQ: { method: "awq", groupSize: 16 },
};

describe.each(Object.entries(LAYOUTS))("%s", (_, packing) => {
  let folder: string;
  beforeAll(async () => {
    folder = await packed(packing);
  });

  it("stays in its own 4 bits, which stand for the numbers that it is widened to", async () => {
    const [small, wide] = [await open(folder), await open(folder, { dtype: "float32" })];
    for (const { name, role } of small.architecture.weights) {
      const kept = small.weights.quantized(name)?.type;
      expect(kept, name).toBe(role === "linear" ? "int4" : undefined);
      expect(wide.weights.quantized(name)).toBeUndefined();
      expect(small.weights.copy(name)).toEqual(wide.weights.copy(name));
    }
    await small.dispose();
    await wide.dispose();
  });

  it("is trained over with the loss and gradients of the widened weights", async () => {
    const losses = [];
    for (const dtype of ["auto", "float32"] as const) {
      const model = await open(folder, { dtype, method: LORA });
      for (const { data } of model.parameters)
        data.forEach((value, i) => {
          data[i] = value + 0.02 * Math.sin(i);
        });
      const evaluated = await model.evaluateLoss(batchOf(rows));
      losses.push({ ...(await differentiate(model, [batchOf(rows)])), evaluated });
      await model.dispose();
    }
    const [small, wide] = losses as [(typeof losses)[0], (typeof losses)[0]];
    expect(Math.abs(small.lossSum / wide.lossSum - 1)).toBeLessThan(1e-5);
    expect(small.evaluated).toEqual(wide.evaluated);
    for (const [name, gradient] of wide.gradients) {
      const scale = gradient.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      expect(scale, name).toBeGreaterThan(0);
      expect(arrayDifference(small.gradients.get(name)!, gradient)).toBeLessThan(1e-5 * scale);
    }
  });

  it.each(["auto", "q4", "q8"] as const)("is continued with its own codes as %s", async (dtype) => {
    const [small, wide] = [await open(folder, { dtype }), await open(folder, { dtype: "float32" })];
    const { packed: codes } = small.weights.quantized(QUERY) as Int4Tensor;
    expect(small.weights.blocks(QUERY)!.parts.codes.data).toBe(codes);
    const apart = distance(await decoded(small, rows[0]!), await decoded(wide, rows[0]!));
    // Rows are rounded to 8 bits on their way into each product, and in q4 so is the embedding.
    expect(apart).toBeLessThan(0.03);
    expect(apart).toBeGreaterThan(0);
    await small.dispose();
    await wide.dispose();
  });
});

it("takes at most 0.6 bytes a weight in groups of 32", async () => {
  const model = await open(await packed({ method: "gptq", groupSize: 32 }));
  const { weights } = model.architecture;
  const linear = weights.filter(({ role }) => role === "linear");
  const count = linear.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const others = weights.reduce((sum, { shape }) => sum + sizeOf(shape), -count);
  const share = (model.weights.bytes - 2 * others) / count;
  expect(share).toBe(0.5 + 3 / 32);
  await model.dispose();
});

it.each<[string, Packing, string]>([
  ["8 bits", { method: "gptq", groupSize: 16, bits: 8 }, "8 bits"],
  ["2 bits", { method: "gptq", groupSize: 16, bits: 2 }, "2 bits"],
  ["groups of 8", { method: "gptq", groupSize: 8 }, "groups of 8 among 32 inputs"],
])("%s are widened to the type of their scales", async (_, packing, why) => {
  const source = await plainModel();
  const folder = await packed(packing, source);
  const checkpoint = await openCheckpoint(folder);
  expect(checkpoint.tensors.get(QUERY)?.widenedFor).toContain(why);
  await checkpoint.close();
  const model = await open(folder);
  expect(model.weights.quantized(QUERY)).toBeUndefined();
  const plain = await open(source);
  const [own, before] = [model.weights.copy(QUERY), plain.weights.copy(QUERY)];
  const size = before.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(arrayDifference(own, before)).toBeLessThan((size * 1.1) / (2 ** (packing.bits ?? 4) - 2));
  await model.dispose();
  await plain.dispose();
});

it("models whose plain matrices lie the other way round are read, too", async () => {
  const source = await plainModel("gpt2");
  const folder = await packed({ method: "gptq", groupSize: 16 }, source);
  const [model, plain] = [await open(folder), await open(source)];
  const { name } = model.architecture.weights.find(({ isTransposed }) => isTransposed)!;
  expect(model.weights.quantized(name)?.type).toBe("int4");
  const before = plain.weights.copy(name);
  const size = before.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  expect(arrayDifference(model.weights.copy(name), before)).toBeLessThan(size / 6);
  await model.dispose();
  await plain.dispose();
});

it("experts are continued with their own codes", async () => {
  const folder = await packed({ method: "gptq", groupSize: 16 }, await plainModel("mixtral"));
  const [small, wide] = [await open(folder), await open(folder, { dtype: "float32" })];
  const [own, exact] = [await decoded(small, rows[0]!), await decoded(wide, rows[0]!)];
  expect(distance(own, exact)).toBeLessThan(0.05);
  await small.dispose();
  await wide.dispose();
});

describe("an adapter over it", () => {
  const adapter = () => join(parent, "adapter");
  let folder: string;
  beforeAll(async () => {
    folder = await packed({ method: "gptq", groupSize: 16 });
    const trained = await open(folder, { method: { ...LORA, init: false } });
    await trained.saveAdapter!(adapter());
    await trained.dispose();
  });

  it("is merged into 16 bits, and says what quantising again would lose", async () => {
    const model = await open(folder, { adapter: adapter() });
    const loss = await model.merge(join(parent, "merged"));
    expect(loss?.type).toBe("int4");
    expect(loss!.error).toBeGreaterThan(0);
    expect(loss!.change).toBeGreaterThan(0);
    const merged = await openCheckpoint(join(parent, "merged"));
    expect(merged.config).not.toHaveProperty("quantization_config");
    expect(merged.tensors.get(QUERY)).toMatchObject({ dtype: "F16" });
    await merged.close();
    await model.dispose();
  });

  it("loses nothing in its own groups where nothing was changed", async () => {
    const model = await open(folder);
    const loss = await model.merge(join(parent, "same"));
    expect(loss).toEqual({ type: "int4", error: 0, change: 0 });
    await model.dispose();
  });

  it("is heard by a decoder as soon as it is part of the weights in memory, and no longer than that", async () => {
    const model = await open(folder);
    await model.adapters.load("own", adapter());
    const decoder = createDecoder(model);
    const next = async () => {
      decoder.truncate(0, 0);
      return (await decoder.append([rows[0]!]))[0]!.slice();
    };
    const before = await next();
    await model.adapters.merge("own");
    const merged = await next();
    model.adapters.unmerge();
    expect(await next()).toEqual(before);
    const beside = createDecoder(await model.adapters.select("own", 1));
    const [expected] = await beside.append([rows[0]!]);
    const change = arrayDifference(before, expected!);
    expect(arrayDifference(merged, expected!)).toBeLessThan(0.2 * change);
    await model.dispose();
  });
});

it.each<[string, OpenOptions, RegExp]>([
  [
    "another type",
    { quantization: { type: "nf4" } },
    /stays as it is[\s\S]*nf4 is asked for; \S+ has int4/,
  ],
  ["full tuning", { method: { name: "full" } }, /quantised weights are frozen/],
  ["an init out of the base", { method: { name: "lora", init: "pissa" } }, /unquantised/],
  ["products in int8", { arithmetic: "int8" }, /a checkpoint quantised to int4/],
])("refuses %s", async (_, options, message) => {
  await expect(open(await packed(LAYOUTS.GPTQ!), options)).rejects.toThrow(message);
});

it("is trained in full once it is widened", async () => {
  const model = await open(await packed(LAYOUTS.AWQ!), {
    dtype: "float32",
    method: { name: "full" },
  });
  const { gradients } = await differentiate(model, [batchOf(rows)]);
  expect(gradients.has(QUERY)).toBe(true);
  await model.dispose();
});

it("is not made of other models", async () => {
  await expect(open(tinyModelFolder("base"), { quantization: { type: "int4" } })).rejects.toThrow(
    /taken over[\s\S]*no such weights/,
  );
});

it("takes no more than what nf4 takes with plain scales of blocks of 64", async () => {
  const checkpoint = await openCheckpoint(await packed({ method: "awq", groupSize: 32 }));
  const { shape, quantizedBytes: own } = checkpoint.tensors.get(QUERY)!;
  await checkpoint.close();
  expect(own! / quantizedBytes(shape, { type: "nf4", doubleQuantization: false })).toBeLessThan(
    1.06,
  );
});
