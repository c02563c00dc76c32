// The head that takes a vocabulary in slices against the one graph that makes all logits at once.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeSafetensors } from "../../hub/index.ts";
import type { MethodOptions } from "../../methods/index.ts";
import type { Value } from "../../runtime/kernel.ts";
import { createRandom } from "../../runtime/random.ts";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import { randomFloats } from "../../runtime/testing/evaluate.ts";
import { type BufferPool, createBufferPool, floatData, floats } from "../../runtime/values.ts";
import { sizeOf } from "../../tensor/index.ts";
import { createBind } from "../bind.ts";
import { type EngineModel, openModel } from "../load.ts";
import { openTiny, tinyModelFolder } from "../testing/tiny-models.ts";
import type { ChunkHead, ChunkHeadOptions } from "./chunk.ts";
import { SLICE } from "./matrix-head.ts";
import { createMatrixHead } from "./run-matrix-head.ts";
import { createWholeHead } from "./run-whole-head.ts";

/** Several slices, the last one narrower, and its last block narrower still. */
const VOCABULARY = 2 * SLICE + 700;
const ROWS = 6;
const WIDTH = 32;

let folder: string;

/** A tiny model of that vocabulary, whose later words have ever larger logits: the largest one moves on. */
async function writeModel(dtype: "F32" | "F16", vocabulary = VOCABULARY): Promise<string> {
  const source = tinyModelFolder("untied-head");
  const into = await mkdtemp(join(folder, "model-"));
  const config = JSON.parse(await readFile(join(source, "config.json"), "utf8"));
  await writeFile(join(into, "config.json"), JSON.stringify({ ...config, vocab_size: vocabulary }));
  const tiny = await openTiny("untied-head");
  const random = createRandom(3);
  const tensors = tiny.architecture.weights.map(({ name, shape: [rows, ...inner] }) => {
    const shape =
      rows === tiny.architecture.logitCount ? [vocabulary, ...inner] : [rows!, ...inner];
    const data = randomFloats(random, sizeOf(shape));
    const isOutput = name === tiny.architecture.outputName;
    return {
      name,
      shape,
      dtype,
      data: isOutput ? data.map((x, i) => x * (0.2 + i / data.length)) : data,
    };
  });
  await tiny.dispose();
  await writeSafetensors(join(into, "model.safetensors"), tensors);
  return into;
}

const optionsOf = (model: EngineModel): ChunkHeadOptions => {
  const { architecture, method, weights, parameterSet: parameters, runtime } = model;
  const [pool, bind] = [createBufferPool(), createBind(weights, parameters)];
  return { architecture, method, weights, parameters, runtime, pool, bind, logitBytes: 2 ** 28 };
};

const LABELS = [0, SLICE - 1, SLICE, VOCABULARY - 1, 5];

/** What a head makes of the same rows: those behind the labels have none. */
async function resultsOf(
  head: ChunkHead,
  { parameters }: EngineModel,
  wantsStates: boolean,
  { labels = LABELS, rows = ROWS, factor = 0.3 } = {},
) {
  for (const { gradient } of parameters) gradient.fill(0);
  const lossWeights = new Float32Array(rows).fill(factor, 0, labels.length);
  const chunk = {
    states: floats(randomFloats(createRandom(5), rows * WIDTH), [rows, WIDTH]),
    labels: Int32Array.from(labels),
    factor,
    lossWeights: floats(lossWeights, [rows, 1]),
  };
  const ofStates = floats(new Float32Array(rows * WIDTH), [rows, WIDTH]);
  const { losses: alone } = await head.loss(chunk);
  const kept = alone.slice();
  const losses = await head.lossWithGradients(chunk, wantsStates ? ofStates : undefined);
  return {
    "the loss alone": kept,
    losses: losses.slice(),
    "gradient of the states": floatData(ofStates).slice(),
    ...Object.fromEntries(parameters.map(({ name, gradient }) => [name, gradient.slice()])),
  };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-head-"));
});
afterAll(() => rm(folder, { recursive: true }));

const LORA: MethodOptions = { name: "lora", rank: 2 };
const OUTPUT: MethodOptions = { name: "freeze", weights: ["lm_head.weight"] };

describe("a vocabulary in slices", () => {
  it.each<[string, "F32" | "F16", MethodOptions, boolean]>([
    ["a frozen matrix", "F32", LORA, true],
    ["one of 16 bits, widened slice by slice", "F16", LORA, true],
    ["a trained last norm", "F32", { name: "ln-tuning" }, true],
    ["a trained last norm, with nothing trained before it", "F32", { name: "ln-tuning" }, false],
    ["a trained matrix and norm", "F32", { name: "full" }, true],
    ["a trained matrix alone", "F32", OUTPUT, false],
  ])("has the losses and gradients of all logits at once: %s", async (_, dtype, method, states) => {
    const model = await openModel(await writeModel(dtype), { threads: 1, method });
    const options = optionsOf(model);
    const sliced = await resultsOf(createMatrixHead(options), model, states);
    const whole = await resultsOf(createWholeHead(options), model, states);
    expect(Object.keys(sliced).length).toBeGreaterThan(3);
    for (const [name, values] of Object.entries(whole))
      expect(arrayDifference(sliced[name as "losses"], values), name).toBeLessThan(2e-6);
    expect(whole.losses.some((loss) => loss > 0.1)).toBe(true);
    await model.dispose();
  });

  it.each<[string, number, number[], number, number]>([
    ["one narrower than a block", 97, [0, 96, 5], 4, 0.3],
    ["one of exactly a slice", SLICE, [0, SLICE - 1], 3, 0.3],
    ["a last slice of one column", SLICE + 1, [SLICE, SLICE - 1], 2, 0.3],
    ["losses that count for nothing", VOCABULARY, [SLICE, 5], 3, 0],
    ["rows without a label alone", VOCABULARY, [], 2, 0.3],
  ])("has them at its edges: %s", async (_, vocabulary, labels, rows, factor) => {
    const method: MethodOptions = { name: "full" };
    const model = await openModel(await writeModel("F32", vocabulary), { threads: 1, method });
    const options = optionsOf(model);
    const asked = { labels, rows, factor };
    const sliced = await resultsOf(createMatrixHead(options), model, true, asked);
    const whole = await resultsOf(createWholeHead(options), model, true, asked);
    for (const [name, values] of Object.entries(whole))
      expect(arrayDifference(sliced[name as "losses"], values), name).toBeLessThan(2e-6);
    expect(whole.losses.some((loss) => loss !== 0)).toBe(labels.length > 0 && factor > 0);
    await model.dispose();
  });

  it("gives back to the pool what it took", async () => {
    const model = await openModel(await writeModel("F32"), {
      threads: 1,
      method: { name: "full" },
    });
    const options = optionsOf(model);
    const { pool } = options;
    const out = new Set<Value>();
    const counted: BufferPool = {
      ...pool,
      take(shape) {
        const value = pool.take(shape);
        out.add(value);
        return value;
      },
      give(value) {
        expect(out.delete(value)).toBe(true);
        pool.give(value);
      },
    };
    await resultsOf(createMatrixHead({ ...options, pool: counted }), model, true);
    expect(out.size).toBe(0);
    await model.dispose();
  });

  it("takes seven kernels, however large the vocabulary is", async () => {
    const model = await openModel(await writeModel("F32"), { threads: 1, method: LORA });
    const compiled = model.runtime.compiled;
    const head = createMatrixHead(optionsOf(model));
    await resultsOf(head, model, true);
    // The norm, a slice and the last one, and what leaves; for the loss alone and with gradients.
    expect(model.runtime.compiled - compiled).toBe(7);
    await model.dispose();
  });
});
