import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readAdapter, writeAdapter } from "../hub/index.ts";
import type { MethodOptions } from "../methods/index.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import type { Batch } from "./batch.ts";
import type { EngineModel } from "./load.ts";
import { differentiate, largestDifference, openTiny, randomRows } from "./testing/tiny-models.ts";

const [long, short] = randomRows([9, 6], 3) as [number[], number[]];
const padding = (value: number) => new Array<number>(3).fill(value);
const padded: Batch = {
  inputIds: [long, [...short, ...padding(0)]],
  labels: [long, [...short, ...padding(-100)]],
  attentionMask: [long.map(() => 1), [...short.map(() => 1), ...padding(0)]],
};

const SPARSE: MethodOptions = { name: "moe-lora", experts: 3, rank: 2, balance: 0.5 };
const DENSE: MethodOptions = { ...SPARSE, routing: "dense" };

/** Moves all trained tensors, so that experts differ. */
function perturb(model: EngineModel): void {
  for (const { data } of model.parameters)
    for (let i = 0; i < data.length; i++) data[i]! += 0.2 * Math.sin(1 + 3.7 * i);
}

async function withExperts(method: MethodOptions, use: (model: EngineModel) => Promise<void>) {
  const model = await openTiny("base", { method });
  perturb(model);
  await use(model);
  await model.dispose();
}

describe("the balancing loss", () => {
  it("of MixLoRA is of real tokens, padded or packed", () =>
    withExperts(SPARSE, async (model) => {
      const packed: Batch = {
        inputIds: [[...long, ...short]],
        labels: [[...long, -100, ...short.slice(1)]],
        segmentIds: [[...long.map(() => 1), ...short.map(() => 2)]],
        positionIds: [[...long.keys(), ...short.keys()]],
      };
      const expected = await differentiate(model, [padded]);
      const targets = long.length + short.length - 2;
      expect(expected.loss - expected.lossSum / targets).toBeGreaterThan(0.5);
      const found = await differentiate(model, [packed]);
      expect(largestDifference(found, expected)).toBeLessThan(1e-4);
      expect(found.loss).toBeCloseTo(expected.loss, 4);
    }));

  it("of LoRAMoE does not see padding", () =>
    withExperts(DENSE, async (model) => {
      const wider = {
        inputIds: padded.inputIds.map((row) => [...row, ...padding(5)]),
        labels: padded.labels!.map((row) => [...row, ...padding(-100)]),
        attentionMask: padded.attentionMask!.map((row) => [...row, ...padding(0)]),
      };
      const expected = await differentiate(model, [padded]);
      const found = await differentiate(model, [wider]);
      expect(found.loss).toBeCloseTo(expected.loss, 4);
      expect(largestDifference(found, expected)).toBeLessThan(1e-4);
    }));

  it("has no part in an evaluation", () =>
    withExperts(SPARSE, async (model) => {
      const { lossSum } = await differentiate(model, [padded]);
      const evaluated = await model.evaluateLoss(padded);
      expect(evaluated.lossSum).toBeCloseTo(lossSum, 3);
      expect(evaluated.auxiliaryLoss).toBeUndefined();
    }));
});

it("the names of MixLoRA's first files are understood", () =>
  withExperts(SPARSE, async (model) => {
    const folder = await mkdtemp(join(tmpdir(), "tunesmith-mixlora-"));
    try {
      await model.saveAdapter(folder);
      const { config, tensors } = await readAdapter(folder);
      const oldNames: Record<string, string> = {
        gate_proj: "w1_proj",
        down_proj: "w2_proj",
        up_proj: "w3_proj",
      };
      const oldKey = (key: string) =>
        key
          .replace(".mlp.moe_gate.", ".gate.")
          .replace(
            /\.mlp\.(\w+)\.experts\.(\d+)\./,
            (_, name, expert) => `.experts.${expert}.${oldNames[name]}.`,
          );
      const renamed = new Map([...tensors].map(([key, tensor]) => [oldKey(key), tensor]));
      expect(renamed.has("mixlora.layers.1.experts.2.w3_proj.lora_A.weight")).toBe(true);
      const targets = (config.target_modules as string[]).map((name) => oldNames[name] ?? name);
      await writeAdapter(folder, {
        config: { ...config, routing_strategy: "mixtral", target_modules: targets },
        tensors: renamed,
      });
      const again = await openTiny("base", { adapter: folder });
      const logits = async (one: EngineModel) =>
        (await one.forward({ inputIds: [long] })).logits.data;
      expect(arrayDifference(await logits(again), await logits(model))).toBeLessThan(1e-6);
      await again.dispose();
    } finally {
      await rm(folder, { recursive: true });
    }
  }));

const FAULTS: readonly [what: string, options: Partial<MethodOptions>, message: RegExp][] = [
  ["more choices than experts", { topK: 4 }, /topK 4 of 3 experts/],
  ["no part of the feed-forward", { targets: ["q_proj"] }, /experts in the feed-forward/],
  ["layers of some blocks", { targets: ["layers.0.mlp.up_proj"] }, /leaves some of them out/],
];
it.each(FAULTS)("%s is refused", async (_, options, message) => {
  await expect(
    openTiny("base", { method: { ...SPARSE, ...options } as MethodOptions }),
  ).rejects.toThrow(message);
});
