// Adapters that start as what quantisation took from the base (LoftQ).

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readAdapter } from "../../hub/index.ts";
import type { MethodOptions } from "../../methods/index.ts";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import type { EngineModel } from "../load.ts";
import { openTiny, randomRows } from "../testing/tiny-models.ts";

const KEY = "model.layers.1.self_attn.k_proj";
const inputIds = randomRows([9], 4);
const loftq = (rank: number): MethodOptions => ({
  name: "qlora",
  rank,
  alpha: 3,
  targets: ["k_proj", "down_proj"],
  init: "loftq",
});

/** How much of the published weight is missing in what is computed with, as a length. */
async function missing(model: EngineModel): Promise<number> {
  const published = await openTiny("base");
  const data = published.weights.copy(`${KEY}.weight`);
  await published.dispose();
  const kept = model.weights.copy(`${KEY}.weight`);
  model.method!.mergeInto!(
    `${KEY}.weight`,
    kept,
    (spec) => model.parameterSet.parameter(spec).data,
  );
  return Math.hypot(...data.map((value, i) => value - kept[i]!));
}

it("give back more of it the higher the rank, and all of it at the weight's own rank", async () => {
  const left: number[] = [];
  for (const rank of [1, 4, 16]) {
    const model = await openTiny("base", { method: loftq(rank), seed: 2 });
    left.push(await missing(model));
    await model.dispose();
  }
  const plain = await openTiny("base", { method: { name: "qlora", targets: ["k_proj"] } });
  const all = [await missing(plain), ...left];
  await plain.dispose();
  expect(all).toEqual(all.toSorted((a, b) => b - a));
  expect(left[0]).toBeLessThan(0.98 * all[0]!);
  expect(left[2]! / all[0]!).toBeLessThan(1e-5);
});

it("are saved as an ordinary adapter of a base that is quantised alike", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-loftq-"));
  const model = await openTiny("base", { method: loftq(4), seed: 2 });
  const { logits } = await model.forward({ inputIds });
  await model.saveAdapter(folder);
  await model.dispose();
  expect((await readAdapter(folder)).config.init_lora_weights).toBe(true);
  const again = await openTiny("base", { adapter: folder, quantization: { type: "nf4" } });
  expect(
    arrayDifference((await again.forward({ inputIds })).logits.data, logits.data),
  ).toBeLessThan(1e-6);
  await again.dispose();
  await rm(folder, { recursive: true });
});

it("are refused where nothing was taken", async () => {
  const options = { ...loftq(4), name: "lora" } as MethodOptions;
  await expect(openTiny("base", { method: options })).rejects.toThrow("of which it takes nothing");
});
