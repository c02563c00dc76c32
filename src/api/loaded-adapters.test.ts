// Adapters by name, through the public model: chosen for all calls or for one, merged, forgotten.

import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tinyModelFolder } from "../engine/testing/tiny-models.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { loadModel } from "./load-model.ts";
import type { LoadedModel } from "./loaded-model.ts";

const CASES = join(import.meta.dirname, "../../tests/parity/cases/lora");
const adapters = { a: join(CASES, "q-v/adapter"), b: join(CASES, "all-linear/adapter") };
const batch = {
  inputIds: [
    [5, 9, 14, 3],
    [5, 9, 14, 3],
  ],
};

let model: LoadedModel;
beforeAll(async () => {
  model = await loadModel(tinyModelFolder("base"), { threads: 1, adapters });
});
afterAll(() => model.dispose());

const logits = async (options = {}) => (await model.forward(batch, options)).logits.data;

describe("adapters of a loaded model", () => {
  it("are used when they are chosen, for all calls or for one", async () => {
    expect(model.adapters.names).toEqual(["a", "b"]);
    expect(model.adapters.active).toBe(null);
    const base = await logits();
    const a = await logits({ adapters: "a" });
    expect(arrayDifference(a, base)).toBeGreaterThan(1e-3);
    await model.adapters.use("a");
    expect(await logits()).toEqual(a);
    expect(await logits({ adapters: null })).toEqual(base);
    const both = await logits({ adapters: ["a", null] });
    expect(
      arrayDifference(both.subarray(0, both.length / 2), a.subarray(0, a.length / 2)),
    ).toBeLessThan(1e-5);
    expect(
      arrayDifference(both.subarray(both.length / 2), base.subarray(base.length / 2)),
    ).toBeLessThan(1e-5);
    await model.adapters.use(null);
  });

  it("are refused where they have more tokens than the model", async () => {
    const folder = join(CASES, "grown-besides/adapter");
    await expect(model.adapters.load("more", folder)).rejects.toThrow(
      /grown-besides[\s\S]*for 100 tokens, and a model that was loaded with 97[\s\S]*{ adapter: DIR }/,
    );
    const ofLora = join(CASES, "grown-tied-head-lora/adapter");
    await expect(model.adapters.load("more", ofLora)).rejects.toThrow(/for 100 tokens/);
    expect(model.adapters.names).toEqual(["a", "b"]);
    const own = await loadModel(tinyModelFolder("base"), { threads: 1, adapter: folder });
    expect((await own.forward({ inputIds: [[5, 99]] })).logits.shape).toEqual([1, 2, 100]);
    await own.dispose();
  });

  it("continue prompts", async () => {
    const options = { inputIds: batch.inputIds, maxNewTokens: 5, ignoreEos: true };
    const own = async (name: string | null) =>
      (await model.generate({ ...options, adapters: name })).tokenIds[0];
    const { tokenIds } = await model.generate({ ...options, adapters: ["b", null] });
    expect(tokenIds).toEqual([await own("b"), await own(null)]);
    expect(tokenIds[0]).not.toEqual(tokenIds[1]);
  });

  it("are merged and taken out again", async () => {
    const base = await logits();
    const chosen = await logits({ adapters: { a: 0.5, b: 0.5 } });
    await model.adapters.use({ a: 0.5, b: 0.5 });
    await model.adapters.merge();
    expect(model.adapters.merged).toEqual({ a: 0.5, b: 0.5 });
    expect(arrayDifference(await logits(), chosen)).toBeLessThan(1e-5);
    await model.adapters.unmerge();
    expect(await logits()).toEqual(base);
  });

  it("are forgotten", async () => {
    await model.adapters.load("c", adapters.a);
    await model.adapters.use({ c: 1, b: 1 });
    await model.adapters.unload("c");
    expect(model.adapters.active).toBe(null);
    await expect(model.adapters.use("c")).rejects.toThrow(/"c", where there are a, b/);
  });

  it("are refused with a method, and the model let go of", async () => {
    const options = { threads: 1, adapters, method: { name: "lora" } } as const;
    await expect(loadModel(tinyModelFolder("base"), options)).rejects.toThrow(/no other method/);
  });
});
