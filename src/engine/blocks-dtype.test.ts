// Models opened to be run in blocks of few bits.

import { afterAll, describe, expect, it } from "vitest";
import { TunesmithError } from "../errors.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { createDecoder } from "./decoding/decoder.ts";
import { type EngineModel, openModel } from "./load.ts";
import { openTiny, randomRows, type TinyModel, tinyModelFolder } from "./testing/tiny-models.ts";

const opened: EngineModel[] = [];
const open = async (...given: Parameters<typeof openTiny>) => {
  const model = await openTiny(...given);
  opened.push(model);
  return model;
};
afterAll(async () => {
  for (const model of opened) await model.dispose();
});

const [ids] = randomRows([24]) as [number[]];
const logits = async (model: EngineModel) => (await model.forward({ inputIds: [ids] })).logits.data;

function cosine(a: Float32Array, b: Float32Array): number {
  let [ab, aa, bb] = [0, 0, 0];
  a.forEach((value, i) => {
    ab += value * b[i]!;
    aa += value * value;
    bb += b[i]! * b[i]!;
  });
  return ab / Math.sqrt(aa * bb);
}

describe.each(["q4", "q8"] as const)("a model in %s", (dtype) => {
  it.each<TinyModel>(["base", "untied-head", "qwen3", "mixtral"])(
    "gives about the logits of the decoded weights: %s",
    async (tiny) => {
      const model = await open(tiny, { dtype });
      const decoded = await open(tiny, { dtype: "float32" });
      for (const { name } of decoded.architecture.weights)
        decoded.weights.replace(name, model.weights.copy(name));
      const similarity = cosine(await logits(model), await logits(decoded));
      // A row that rounding sends to other experts has other logits altogether.
      expect(similarity).toBeGreaterThan(tiny === "mixtral" ? 0.95 : 0.995);
      expect(similarity).toBeLessThan(1);
    },
  );

  it("continues a text as its full pass does", async () => {
    const model = await open("base", { dtype });
    const decoder = createDecoder(model);
    const all = await logits(model);
    const vocabulary = model.architecture.dimensions.vocabularySize;
    await decoder.append([ids.slice(0, 10)]);
    for (let at = 10; at < 14; at++) {
      const [next] = await decoder.append([[ids[at]!]]);
      const row = all.subarray(at * vocabulary, (at + 1) * vocabulary);
      expect(arrayDifference(next!, row)).toBeLessThan(0.02);
    }
  });

  it("takes less memory, and cannot be trained or merged", async () => {
    const model = await open("base", { dtype });
    const whole = await open("base", { dtype: "float32" });
    // Rows of 32 and 36 elements fill half of their 8-bit blocks.
    expect(model.weights.bytes / whole.weights.bytes).toBeLessThan(dtype === "q4" ? 0.4 : 0.6);
    await expect(
      model.accumulateGradients({ inputIds: [ids], labels: [ids] }, { scale: 1 }),
    ).rejects.toThrow("differentiates the products");
  });

  it.each([
    ["a method", { method: { name: "lora" } }, "method lora"],
    ["quantisation", { quantization: { type: "nf4" } }, "quantization: nf4"],
    ["whole numbers", { arithmetic: "int8" }, "arithmetic: int8"],
  ] as const)("refuses %s, at once", async (_what, options, seen) => {
    const failed = openModel(tinyModelFolder("base"), { dtype, ...options });
    await expect(failed).rejects.toThrow(TunesmithError);
    await expect(failed).rejects.toThrow(seen);
  });
});

it("refuses a dtype that there is not", async () => {
  const failed = openModel(tinyModelFolder("base"), { dtype: "q5" as "q4" });
  await expect(failed).rejects.toThrow("one of auto, float32, q4, q8");
});
