// Merging and re-ranking against PEFT's own results, the algebra's laws, and what is refused.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openSafetensors, readFloat32 } from "../hub/index.ts";
import { createRandom } from "../runtime/random.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { COMBINATIONS } from "./combine.ts";
import { changeRank } from "./convert-to-lora.ts";
import { concatenated, normOf, productOf } from "./factors.ts";
import {
  MERGE_METHODS,
  type MergeMethod,
  type MergeSettings,
  mergeAdapters,
} from "./merge-adapters.ts";
import { readPlainLora } from "./plain-lora.ts";
import { MERGE_CASES, randomLora, randomModule, storedLora } from "./testing/cases.ts";

interface StoredMerge {
  readonly combination_type: MergeMethod;
  readonly weights: readonly number[];
  readonly svd_rank?: number;
  readonly density?: number;
  readonly majority_sign_method?: "total" | "frequency";
}

interface Stored {
  readonly merges: readonly StoredMerge[];
  readonly conversions: readonly { rank: number; ranks: Readonly<Record<string, number>> }[];
}

const PAIRS = ["alike", "different"];
const stored = (pair: string): Stored =>
  JSON.parse(readFileSync(join(MERGE_CASES, pair, "merges.json"), "utf8"));

/** PEFT's products of one result, by path. */
async function productsOf(pair: string, result: string): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(join(MERGE_CASES, pair, "expected.safetensors"));
  const products = new Map<string, Float32Array>();
  for (const { name, shape } of file.tensors.values()) {
    if (!name.startsWith(`${result}/`)) continue;
    const data = new Float32Array(shape.reduce((size, length) => size * length, 1));
    await readFloat32(file, name, data);
    products.set(name.slice(result.length + 1), data);
  }
  await file.close();
  return products;
}

const settingsOf = (merge: StoredMerge): MergeSettings => ({
  method: merge.combination_type,
  weights: merge.weights,
  rank: merge.svd_rank,
  density: merge.density,
  majoritySign: merge.majority_sign_method,
});

const merges = PAIRS.flatMap((pair) =>
  stored(pair).merges.map((merge, index) => ({ pair, index, merge, name: merge.combination_type })),
);
const conversions = PAIRS.flatMap((pair) =>
  stored(pair).conversions.map((conversion) => ({ pair, ...conversion })),
);

describe("merging", () => {
  it.each(merges)("$pair $index: $name is PEFT's", async ({ pair, index, merge }) => {
    const loras = [await storedLora(pair, 0), await storedLora(pair, 1)];
    const merged = readPlainLora(await mergeAdapters(loras, settingsOf(merge)), "merged");
    const expected = await productsOf(pair, String(index));
    expect(expected.size).toBeGreaterThan(0);
    expect([...merged.modules.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [path, product] of expected)
      expect(arrayDifference(productOf(merged.modules.get(path)!), product), path).toBeLessThan(
        1e-5,
      );
  });

  it("covers every way that chance has no part in", () => {
    const random = ["dare_linear_svd", "dare_linear", "dare_ties", "dare_ties_svd"];
    const compared = new Set<string>(merges.map(({ name }) => name));
    for (const method of MERGE_METHODS)
      expect(compared.has(method) || random.includes(method), method).toBe(true);
  });

  it("names targets where the adapters agree about them, else whole paths", async () => {
    const alike = await mergeAdapters([await storedLora("alike", 0), await storedLora("alike", 1)]);
    expect(alike.config.target_modules).toEqual(["q_proj", "v_proj"]);
    const other = await mergeAdapters([
      await storedLora("different", 0),
      await storedLora("different", 1),
    ]);
    expect(other.config.target_modules).toEqual([
      "model.layers.0.mlp.down_proj",
      "model.layers.0.self_attn.q_proj",
    ]);
  });

  it("draws the same elements for the same seed, and others for another", async () => {
    const merged = (seed: number) =>
      mergeAdapters([randomLora(1), randomLora(2)], { method: "dare_linear", density: 0.5, seed });
    expect(await merged(1)).toEqual(await merged(1));
    expect(await merged(1)).not.toEqual(await merged(2));
  });

  it("only weights one adapter that is alone", async () => {
    const lora = randomLora(1, { scaling: 2 });
    const alone = await mergeAdapters([lora], { weights: [-3], method: "ties_svd" });
    const merged = readPlainLora(alone, "m");
    const [module] = lora.modules.values();
    const expected = productOf(module!).map((x) => -3 * x);
    expect(arrayDifference(productOf([...merged.modules.values()][0]!), expected)).toBeLessThan(
      1e-6,
    );
  });

  it.each([
    [{ weights: [1] }, /one number for each adapter/],
    [{ method: "ties" }, /density[\s\S]*none, with "ties"/],
    [{ method: "ties", density: 2 }, /saw: 2/],
    [{ method: "cat", rank: 3 }, /belongs to the methods with svd/],
    [{ method: "svd", rank: 6 }, /use at most 5/],
    [{ method: "tiles" as MergeMethod }, /is one of svd, cat[\s\S]*nearest is "ties"/],
  ] satisfies [MergeSettings, RegExp][])("refuses %j", async (settings, message) => {
    const merged = mergeAdapters([randomLora(1), randomLora(2)], settings);
    await expect(merged).rejects.toThrow(message);
  });

  it("refuses adapters of two models, and ranks that cannot be added", async () => {
    const wide = randomLora(2, { inputSize: 7 });
    await expect(mergeAdapters([randomLora(1), wide])).rejects.toThrow(
      /\[5, 6\] in adapter 1, \[5, 7\]/,
    );
    const high = randomLora(2, { rank: 3 });
    await expect(mergeAdapters([randomLora(1), high], { method: "linear" })).rejects.toThrow(
      /ranks 2 and 3[\s\S]*cat or svd/,
    );
  });
});

describe("another rank", () => {
  it.each(conversions)("$pair: $rank is PEFT's", async ({ pair, rank, ranks }) => {
    const lora = await storedLora(pair, 0);
    const choice = Number.isInteger(rank) && rank > 1 ? { rank } : { energy: rank };
    const result = readPlainLora(await changeRank(lora, choice), "converted");
    const key = rank === 1 ? "converted-1.0" : `converted-${rank}`;
    const expected = await productsOf(pair, key);
    expect(expected.size).toBe(lora.modules.size);
    for (const [path, product] of expected) {
      const module = result.modules.get(path)!;
      expect(module.rank, path).toBe(ranks[path]);
      expect(arrayDifference(productOf(module), product), path).toBeLessThan(1e-5);
    }
  });
});

describe("elements", () => {
  const options = { density: 0.5, majoritySign: "total", random: createRandom(1) } as const;

  it("are kept by magnitude, the first of equals", () => {
    const tensor = Float32Array.of(1, -3, 1, 2, 1, 0);
    const kept = COMBINATIONS.magnitude_prune([tensor], [1], options);
    expect([...kept]).toEqual([1, -3, 0, 2, 0, 0]);
  });

  it("are kept by chance with their expectation", () => {
    const ones = new Float32Array(20_000).fill(1);
    const kept = COMBINATIONS.dare_linear([ones], [1], { ...options, density: 0.25 });
    const mean = kept.reduce((sum, x) => sum + x, 0) / kept.length;
    expect(new Set(kept)).toEqual(new Set([0, 4]));
    expect(Math.abs(mean - 1)).toBeLessThan(0.05);
  });

  it("take part where they have the elected sign", () => {
    const tensors = [
      Float32Array.of(3, -1, 0),
      Float32Array.of(-1, -2, 5),
      Float32Array.of(1, 2, 0),
    ];
    const merged = COMBINATIONS.ties(tensors, [1, 1, 2], { ...options, density: 1 });
    expect([...merged]).toEqual([2.5, -1.5, 5]);
  });
});

describe("factors", () => {
  it("beside one another are the sum", () => {
    const modules = [randomModule(1, { scaling: 2 }), randomModule(2, { rank: 3 })];
    const sum = productOf(concatenated(modules, [0.5, -1]));
    const [first, second] = modules.map(productOf) as [Float32Array, Float32Array];
    expect(
      arrayDifference(
        sum,
        first.map((x, i) => 0.5 * x - second[i]!),
      ),
    ).toBeLessThan(1e-6);
  });

  it("tell the norm of their product", () => {
    const module = randomModule(3, { scaling: 1.5 });
    const square = productOf(module).reduce((sum, x) => sum + x * x, 0);
    expect(normOf(module)).toBeCloseTo(Math.sqrt(square), 4);
  });
});
