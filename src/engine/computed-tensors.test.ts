// Adapters that an encoder makes: PEFT's file holds what was made, the encoder lies beside it, and
// training goes on where it was.

import { copyFile, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readAdapter } from "../hub/index.ts";
import type { MethodOptions } from "../methods/index.ts";
import { createOptimizer } from "../runtime/optimizer.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import type { EngineModel } from "./load.ts";
import {
  batchOf,
  differentiate,
  largestDifference,
  openTiny,
  randomRows,
} from "./testing/tiny-models.ts";

const ENCODED: readonly MethodOptions[] = [
  { name: "prefix", virtualTokens: 3, projection: true, encoderSize: 6 },
  { name: "p-tuning", virtualTokens: 3, encoderSize: 6 },
  { name: "p-tuning", virtualTokens: 1, encoderSize: 6, encoder: "lstm", encoderLayers: 1 },
];
const ENCODER = "prompt_encoder.safetensors";
const batch = batchOf(randomRows([9], 5));

async function trained(method: MethodOptions, seed: number): Promise<EngineModel> {
  const model = await openTiny("base", { method, seed });
  const optimizer = createOptimizer(model.parameters, { name: "adamw" });
  for (let step = 0; step < 3; step++) {
    await differentiate(model, [batch]);
    optimizer.step(1e-2);
  }
  return model;
}
const logitsOf = async (model: EngineModel) => (await model.forward(batch)).logits.data;

describe.each(ENCODED)("%j", (method) => {
  it("goes on training from its encoder, or from the bare prompt where that is gone", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tunesmith-encoder-"));
    const model = await trained(method, 3);
    await model.saveAdapter(folder);
    expect((await readdir(folder)).sort()).toEqual([
      "adapter_config.json",
      "adapter_model.safetensors",
      ENCODER,
    ]);
    expect([...(await readAdapter(folder)).tensors.keys()]).toEqual(["prompt_embeddings"]);

    const again = await openTiny("base", { adapter: folder });
    expect(again.parameters.map(({ name }) => name)).toEqual(
      model.parameters.map(({ name }) => name),
    );
    const [own, theirs] = [
      await differentiate(model, [batch]),
      await differentiate(again, [batch]),
    ];
    expect(largestDifference(theirs, own)).toBe(0);

    await rm(join(folder, ENCODER));
    const bare = await openTiny("base", { adapter: folder });
    expect(arrayDifference(await logitsOf(bare), await logitsOf(model))).toBeLessThan(1e-6);
    expect(bare.parameters.every(({ name }) => name.startsWith("prompt_embeddings"))).toBe(true);
    const { gradients } = await differentiate(bare, [batch]);
    for (const values of gradients.values()) expect(values.some((value) => value !== 0)).toBe(true);

    for (const each of [model, again, bare]) await each.dispose();
    await rm(folder, { recursive: true });
  });

  it("is refused where the prompt is another than its encoder's", async () => {
    const folders: string[] = [];
    for (const seed of [3, 4]) {
      const folder = await mkdtemp(join(tmpdir(), "tunesmith-encoder-"));
      const model = await trained(method, seed);
      await model.saveAdapter(folder);
      await model.dispose();
      folders.push(folder);
    }
    await copyFile(join(folders[0]!, ENCODER), join(folders[1]!, ENCODER));
    await expect(openTiny("base", { adapter: folders[1]! })).rejects.toThrow(
      /prompt_embeddings[\s\S]*other numbers[\s\S]*delete prompt_encoder/,
    );
    for (const folder of folders) await rm(folder, { recursive: true });
  });
});
