import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Batch } from "../engine/batch.ts";
import { tinyModelFolder } from "../engine/testing/tiny-models.ts";
import { casePath } from "../hub/testing/cases.ts";
import { expectFault } from "../hub/testing/files.ts";
import { createAdamWSteps } from "./adamw-steps.ts";
import { type LoadModelOptions, loadModel } from "./load-model.ts";

const folder = tinyModelFolder("base");
const open = (options: LoadModelOptions = {}) => loadModel(folder, { threads: 1, ...options });
const lora = { name: "lora", rank: 2, init: false } as const;
const eva = { name: "lora", rank: 2, init: "eva" } as const;
const batch = { inputIds: [[5, 9, 14, 3]], labels: [[5, 9, 14, 3]] };

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "tunesmith-api-"));
});
afterAll(() => rm(scratch, { recursive: true }));

describe("loadModel", () => {
  it("runs a model: logits, and the loss where there are labels", async () => {
    await using model = await open();
    const { logits, loss } = await model.forward(batch);
    expect(logits.shape).toEqual([1, 4, 97]);
    expect(loss).toBeGreaterThan(0);
    expect(await model.forward({ inputIds: batch.inputIds })).not.toHaveProperty("loss");
  });

  it("gives copies of gradients and accumulates nothing", async () => {
    await using model = await open({ method: lora });
    const before = Object.values(model.parameters).map(({ data }) => data.slice());
    const first = await model.lossAndGradients(batch);
    const kept = structuredClone(first);
    const second = await model.lossAndGradients(batch);
    expect(second).toEqual(kept);
    expect(first).toEqual(kept);
    expect(Object.values(model.parameters).map(({ data }) => data)).toEqual(before);
    expect(Object.keys(first.gradients)).toContain(
      "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
    );
  });

  it("keeps calls that overlap apart", async () => {
    await using model = await open({ method: lora });
    const other = { inputIds: [[1, 2]], labels: [[1, 2]] };
    const alone = [await model.lossAndGradients(batch), await model.lossAndGradients(other)];
    const together = await Promise.all([
      model.lossAndGradients(batch),
      model.lossAndGradients(other),
    ]);
    expect(together).toEqual(alone);
  });

  it("goes on after a call that failed", async () => {
    await using model = await open({ method: lora });
    const bad = model.forward({ inputIds: [[1, 2], [1]] });
    const good = model.forward(batch);
    await expect(bad).rejects.toThrow("row 1 with 1");
    expect((await good).loss).toBeGreaterThan(0);
  });

  it("trains, saves, and loads what was saved", async () => {
    await using model = await open({ method: lora });
    const losses = [];
    for (let step = 0; step < 5; step++)
      losses.push((await model.trainStep(batch, { learningRate: 0.02 })).loss);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! * 0.8);
    const adapter = join(scratch, "adapter");
    await model.saveAdapter(adapter);
    await using again = await open({ adapter, trainable: false });
    expect((await again.forward(batch)).logits).toEqual((await model.forward(batch)).logits);
    await expect(again.lossAndGradients(batch)).rejects.toThrow("something that is trained");
  });

  it("trains every weight where it is asked for nothing else", async () => {
    await using model = await open({ trainable: true });
    const { gradients } = await model.lossAndGradients(batch);
    expect(Object.keys(gradients)).toContain("model.embed_tokens.weight");
  });

  it("tells of an adapter of another model, as a warning of the process where nobody listens", async () => {
    const adapter = casePath("lora", "q-v", "adapter");
    const told: string[] = [];
    const listen = ({ name, message }: Error) => told.push(`${name}: ${message}`);
    process.on("warning", listen);
    await (await open({ adapter })).dispose();
    await (await open({ adapter, onWarning: (warning) => told.push(warning) })).dispose();
    process.off("warning", listen);
    expect(told).toEqual([
      expect.stringMatching(/^TunesmithWarning: .*trained on tiny-llama/),
      expect.stringMatching(/^(?!TunesmithWarning).*trained on tiny-llama/),
    ]);
  });

  it("continues prompts", async () => {
    await using model = await open();
    const { tokenIds } = await model.generate({
      inputIds: [[5, 9, 14], [3]],
      maxNewTokens: 4,
      temperature: 0,
      ignoreEos: true,
    });
    expect(tokenIds.map((row) => row.length)).toEqual([4, 4]);
    // The likeliest token by the logits of the whole text, not of the cache.
    const text = [5, 9, 14, ...tokenIds[0]!];
    const { data } = (await model.forward({ inputIds: [text] })).logits;
    const likeliest = (position: number) => {
      const row = data.subarray(position * 97, (position + 1) * 97);
      return row.indexOf(Math.max(...row));
    };
    expect(tokenIds[0]).toEqual([2, 3, 4, 5].map(likeliest));
  });

  it.each([
    ["gradients where nothing is trained", {}, batch, "something that is trained"],
    ["no labels", { method: lora }, { inputIds: [[1, 2]] }, "saw: no labels"],
    [
      "no label that counts",
      { method: lora },
      { inputIds: [[1, 2]], labels: [[1, -100]] },
      "of which none counts",
    ],
  ] as const)("refuses %s", async (_name, options, given, message) => {
    await using model = await open(options);
    await expect(model.lossAndGradients(given)).rejects.toThrow(message);
    await expect(model.trainStep(given, { learningRate: 1 })).rejects.toThrow(message);
  });

  it.each([
    ["an adapter and a method", { adapter: "somewhere", method: lora }, "brings its own"],
    ["a method that is not trained", { method: lora, trainable: false }, "leave one of them out"],
  ])("refuses %s", async (_name, options, message) => {
    await expect(open(options)).rejects.toThrow(message);
  });

  it("looks at data that come one by one", async () => {
    const data: AsyncIterable<Batch> = {
      async *[Symbol.asyncIterator]() {
        yield batch;
      },
    };
    await using model = await open({ method: eva, data });
    expect(Object.keys(model.parameters).length).toBeGreaterThan(0);
  });

  it("refuses data to look at that can be gone through once only", async () => {
    const once = [batch].values();
    let passes = 0;
    const data = {
      [Symbol.iterator]() {
        if (++passes > 3) throw new Error("goes through them without an end");
        return once;
      },
    };
    await expect(open({ method: eva, data })).rejects.toThrow(
      /gone through again[\s\S]*pass 2[\s\S]*array/,
    );
  });

  it("is disposed once, after the calls before, and refuses the ones after", async () => {
    const model = await open();
    const running = model.forward(batch);
    await Promise.all([model.dispose(), model.dispose()]);
    expect((await running).loss).toBeGreaterThan(0);
    await expect(model.forward(batch)).rejects.toThrow("not used after dispose()");
  });

  it("ends requests that are being answered, and those that come, when it is disposed of", async () => {
    const model = await open();
    const requests = model.requests({ maxBatch: 1 });
    const request = { inputIds: [5, 9], maxNewTokens: 60, ignoreEos: true };
    const [first, second] = [requests.submit(request), requests.submit(request)];
    for await (const _ of first) {
      void model.dispose();
      break;
    }
    await expectFault(second.finished, /not used after dispose/);
    await expectFault(requests.submit(request).finished, /not used after dispose/);
    expect([requests.running, requests.waiting]).toEqual([0, 0]);
  });
});

describe("AdamW steps", () => {
  const tensor = () => ({
    name: "w.bias",
    shape: [2],
    data: Float32Array.of(1, -1),
    gradient: Float32Array.of(0.5, 0.25),
  });

  it("decay every tensor, biases too, and keep their moments when settings change", () => {
    const own = tensor();
    const step = createAdamWSteps([own]);
    const { gradNorm } = step({ learningRate: 0, weightDecay: 0.5 });
    expect(gradNorm).toBeCloseTo(Math.hypot(0.5, 0.25), 6);
    expect([...own.data]).toEqual([1, -1]);
    step({ learningRate: 0.1, weightDecay: 0.5 });
    // 1 · (1 − 0.1 · 0.5) − 0.1: a constant gradient makes every update one learning rate.
    expect(own.data[0]).toBeCloseTo(0.85, 5);
    own.gradient.fill(0);
    step({ learningRate: 0.1, weightDecay: 0 });
    // First moment: 0.9 of 0.19 · 0.5 over 0.271; second: 0.999 of 0.001999 · 0.25 over 0.002997.
    const first = (0.9 * 0.19 * 0.5) / (1 - 0.9 ** 3);
    const second = (0.999 * (1 - 0.999 ** 2) * 0.25) / (1 - 0.999 ** 3);
    expect(own.data[0]).toBeCloseTo(0.85 - (0.1 * first) / Math.sqrt(second), 5);
  });

  it("clip to the norm they are given and tell the one before", () => {
    const [clipped, small] = [tensor(), tensor()];
    small.gradient.set([0.5e-3, 0.25e-3]);
    const options = { learningRate: 0.1, eps: 1, maxGradNorm: Math.hypot(0.5e-3, 0.25e-3) };
    const { gradNorm, gradientScale } = createAdamWSteps([clipped])(options);
    expect(gradNorm).toBeCloseTo(Math.hypot(0.5, 0.25), 6);
    expect(gradientScale).toBeCloseTo(1e-3, 8);
    createAdamWSteps([small])({ ...options, maxGradNorm: undefined });
    expect(clipped.data[0]).toBeCloseTo(small.data[0]!, 7);
  });
});
