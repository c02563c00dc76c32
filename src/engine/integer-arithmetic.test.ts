// A model whose products with frozen weights are computed in 8-bit integers, beside the exact one.

import { describe, expect, it } from "vitest";
import { casePath } from "../hub/testing/cases.ts";
import { type MethodOptions, methodNames } from "../methods/index.ts";
import type { Runtime } from "../runtime/kernel.ts";
import { createOptimizer, zeroGradients } from "../runtime/optimizer.ts";
import { createRandom } from "../runtime/random.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { randomFloats } from "../runtime/testing/evaluate.ts";
import { createBufferPool, floatData, floats } from "../runtime/values.ts";
import { createBind } from "./bind.ts";
import { createDecoder } from "./decoding/decoder.ts";
import { createHeadRunner } from "./head/head-runner.ts";
import { type OpenOptions, openModel } from "./load.ts";
import { expectLearning, expectOwnTensors } from "./testing/contract-checks.ts";
import { openingOf } from "./testing/contract-subjects.ts";
import { METHODS } from "./testing/method-entries.ts";
import {
  batchOf,
  type Differentiated,
  differentiate,
  openTiny,
  randomRows,
  type TinyModel,
} from "./testing/tiny-models.ts";

const LORA: MethodOptions = { name: "lora", rank: 4, targets: ["q_proj", "v_proj", "down_proj"] };
const DORA = { name: "dora", rank: 4 } as const;
const batch = batchOf(randomRows([12, 12, 12]));
const open = (method: MethodOptions = LORA, memory: "fast" | "lean" = "fast") =>
  openTiny("base", { method, arithmetic: "int8", memory });

const randomStates = (rows: number, width: number) =>
  floats(randomFloats(createRandom(2), rows * width), [rows, width]);

/** Cosine between all gradients of two runs. */
function cosine(a: Differentiated, b: Differentiated): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (const [name, values] of a.gradients)
    b.gradients.get(name)!.forEach((other, i) => {
      const own = values[i]!;
      ab += own * other;
      aa += own * own;
      bb += other * other;
    });
  return ab / Math.sqrt(aa * bb);
}

async function gradients(...opened: Parameters<typeof open>): Promise<Differentiated> {
  const model = await open(...opened);
  const result = await differentiate(model, [batch]);
  await model.dispose();
  return result;
}

describe("training in 8-bit integers", () => {
  it.each<MethodOptions>([LORA, { name: "ia3" }, { name: "prompt", virtualTokens: 4 }, DORA])(
    "has about the exact loss and gradients: $name",
    async (method) => {
      const exact = await openTiny("base", { method });
      const expected = await differentiate(exact, [batch]);
      await exact.dispose();
      const rounded = await gradients(method);
      expect(Math.abs(rounded.loss / expected.loss - 1)).toBeLessThan(0.01);
      expect(rounded.loss).not.toBe(expected.loss);
      expect(cosine(rounded, expected)).toBeGreaterThan(0.95);
    },
  );

  it("is the same, bit for bit, whether the backward pass reads or computes again", async () => {
    const [fast, lean] = [await gradients(LORA, "fast"), await gradients(LORA, "lean")];
    expect(lean.lossSum).toBe(fast.lossSum);
    for (const [name, values] of fast.gradients) expect(lean.gradients.get(name)).toEqual(values);
  });

  it("learns", async () => {
    const model = await open();
    const optimizer = createOptimizer(model.parameters, { name: "adamw" });
    const losses: number[] = [];
    for (let step = 0; step < 12; step++) {
      zeroGradients(model.parameters);
      const { lossSum, tokenCount } = await model.accumulateGradients(batch, { scale: 1 / 33 });
      losses.push(lossSum / tokenCount);
      optimizer.step(0.02);
    }
    await model.dispose();
    expect(losses.at(-1)).toBeLessThan(0.9 * losses[0]!);
  });

  it("keeps two bytes a linear weight and one of the output matrix beside its own", async () => {
    const model = await open();
    await differentiate(model, [batch]);
    const exact = await openTiny("base");
    const linear = exact.architecture.weights.filter(({ role }) => role === "linear");
    const numbers = linear.reduce((sum, { shape: [a, b] }) => sum + a! * b!, 0);
    const scales = linear.reduce((sum, { shape }) => sum + shape[0]!, 0);
    const { vocabularySize, hiddenSize } = exact.architecture.dimensions;
    expect(exact.weights.bytes - model.weights.bytes).toBe(
      4 * numbers - 2 * numbers - 4 * scales - vocabularySize * hiddenSize,
    );
    const { codes } = model.weights.integers(linear[0]!.name)!;
    const kept = model.weights.quantized(linear[0]!.name)!;
    expect(kept.type === "int8" && kept.values).toBe(codes.data);
    await model.dispose();
    await exact.dispose();
  });
});

describe("every method over 8-bit integers", () => {
  it.each(methodNames)("%s learns, or says why it cannot", async (name) => {
    const entry = METHODS[name][0]!;
    const options = {
      ...openingOf(entry),
      arithmetic: "int8",
      quantization: { type: "int8" },
    } as const;
    if (name === "full" || name === "freeze") {
      await expect(openTiny("base", options)).rejects.toThrow("leave arithmetic out");
      return;
    }
    const model = await openTiny("base", options);
    expectOwnTensors(model);
    await expectLearning(model, entry.learningRate);
    await model.dispose();
  });

  it("reaches experts", async () => {
    const method: MethodOptions = { name: "lora", rank: 2, targets: "all-linear" };
    const model = await openTiny("mixtral", { method, arithmetic: "int8" });
    await expectLearning(model, 1e-2);
    await model.dispose();
  });

  it.each<[string, OpenOptions, string]>([
    ["QLoRA, which is for 4 bits", { method: { name: "qlora" } }, "quantization: nf4"],
    ["routers alone", { method: { name: "freeze", parts: "routers" } }, "whole checkpoint"],
    ["PiSSA", { method: { name: "lora", init: "pissa" } }, "leave arithmetic out"],
  ])("refuses %s", async (_, options, told) => {
    const opening = openTiny("mixtral", { ...options, arithmetic: "int8" });
    await expect(opening).rejects.toThrow(told);
  });

  it("merges into the published weights alone", async () => {
    const model = await open();
    await expect(model.merge("nowhere")).rejects.toThrow("published");
    await model.dispose();
  });
});

describe("the head in 8-bit integers", () => {
  it("has the exact loss of the states that it is given, and about their gradient", async () => {
    const models = [
      await openTiny("base", { arithmetic: "int8" }),
      await openTiny("base"),
    ] as const;
    const states = randomStates(6, models[0].architecture.dimensions.hiddenSize);
    const labels = Int32Array.from([3, 1, 4, 1, 5, 9]);
    const results = [];
    for (const { architecture, weights, parameterSet: parameters, runtime } of models) {
      const pool = createBufferPool();
      const bind = createBind(weights, parameters);
      const parts = { architecture, weights, parameters, runtime, pool, bind, method: undefined };
      const head = createHeadRunner({ ...parts, logitBytes: 2 ** 20 });
      const given = pool.take(states.dims);
      results.push({ loss: await head.lossWithGradients(states, labels, 1, given, {}), given });
    }
    const [rounded, exact] = results as [(typeof results)[0], (typeof results)[0]];
    expect(rounded.loss).toBe(exact.loss);
    const difference = arrayDifference(floatData(rounded.given), floatData(exact.given));
    expect(difference).toBeLessThan(0.02);
    expect(difference).toBeGreaterThan(0);
    for (const model of models) await model.dispose();
  });
});

describe("a model in 8-bit integers", () => {
  // Layers of one kernel would each have memory of their own to widen weights into.
  it.each<[string, number, TinyModel, MethodOptions?]>([
    ["all layers in one kernel", 1, "base"],
    ["with 16-bit norms and embeddings", 1, "f16-weights"],
    ["with lora", 1, "base", LORA],
    ["a kernel a layer with dora, which reads weights itself", 2, "base", DORA],
    ["and if it does so in the second alone", 2, "base", { ...DORA, layersToTransform: [1] }],
  ])(
    "continues a text with the numbers of a whole reading: %s",
    async (_, kernels, name, method) => {
      const model = await openTiny(name, { arithmetic: "int8", method });
      const { vocabularySize } = model.architecture.dimensions;
      const row = randomRows([9], 7)[0]!.map((id) => id % vocabularySize);
      const { logits } = await model.forward({ inputIds: [row] });
      let runs = 0;
      const runtime: Runtime = {
        ...model.runtime,
        async compile(...graph) {
          const kernel = await model.runtime.compile(...graph);
          return {
            run(...values) {
              runs++;
              return kernel.run(...values);
            },
          };
        },
      };
      const decoder = createDecoder({ ...model, runtime });
      await decoder.append([row.slice(0, 6)]);
      await decoder.append([row.slice(6, 7)]);
      runs = 0;
      const [last] = await decoder.append([row.slice(7)]);
      expect(runs).toBe(kernels + 1); // the head's besides
      const width = logits.shape[2]!;
      const whole = (logits.data as Float32Array).subarray(8 * width);
      const largest = Math.max(...whole.map(Math.abs));
      whole.forEach((value, i) => {
        expect(Math.abs(value - last![i]!)).toBeLessThan(1e-4 * largest);
      });
      await model.dispose();
    },
  );

  it.each([
    ["weights that are asked for in 4 bits", { quantization: { type: "nf4" } as const }, undefined],
    ["a checkpoint in 4 bits", {}, casePath("qlora", "nf4-double", "model")],
  ])("is refused over %s", async (_, options, folder) => {
    const given = { ...options, arithmetic: "int8" as const, threads: 1 };
    const opening = folder ? openModel(folder, given) : openTiny("base", given);
    await expect(opening).rejects.toThrow("8-bit integers");
  });
});
