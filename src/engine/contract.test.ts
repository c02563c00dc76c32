// What every method keeps to on every architecture, with the pairs that tell something; the rest are in
// contract-grid.slow.test.ts. A new method joins by an entry in testing/method-entries.ts, an architecture
// by one in testing/contract-subjects.ts; the types and the first test say when one is missing.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { supportedModelTypes } from "../models/index.ts";
import { createOptimizer } from "../runtime/optimizer.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import { initialLoopState, loadCheckpoint, saveCheckpoint } from "../train/checkpoint.ts";
import { DEFAULT_TRAINING_SETTINGS } from "../train/settings.ts";
import { runStep, type StepResult } from "../train/step.ts";
import { countTargets } from "./batch.ts";
import { contractBatches, rows } from "./testing/contract-batches.ts";
import { ARCHITECTURES, EVERYWHERE, openWith, RESUMED } from "./testing/contract-subjects.ts";
import { methodContract } from "./testing/method-contract.ts";
import { batchOf, openTiny } from "./testing/tiny-models.ts";

it("the contract covers every architecture", () => {
  expect(Object.keys(ARCHITECTURES).sort()).toEqual([...supportedModelTypes].sort());
});

describe.each(EVERYWHERE)("$method on $tiny", ({ tiny, entry }) => methodContract(tiny, entry));

describe.each(EVERYWHERE.filter(({ tiny }) => RESUMED.has(tiny)))(
  "$method on $tiny",
  ({ tiny, entry }) => {
    const { learningRate } = entry;
    const { batch } = contractBatches(tiny);
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "tunesmith-resumed-"));
    });
    afterAll(() => rm(folder, { recursive: true }));

    it("resumed from a checkpoint, goes on bit for bit as if it had never stopped", async () => {
      const settings = { ...DEFAULT_TRAINING_SETTINGS, learningRate };
      const group = { batches: [batch], targets: countTargets(batch.labels!), endsEpoch: false };
      const begin = async (decidedBy?: string) => {
        const opened = await openWith(tiny, entry, { decidedBy });
        return { opened, optimizer: createOptimizer(opened.parameters, { name: "adamw" }) };
      };
      const steps = async (
        { opened, optimizer }: Awaited<ReturnType<typeof begin>>,
        from: number,
      ) => {
        const results: StepResult[] = [];
        for (let step = from; step < from + 3; step++) {
          const request = { group, learningRate, position: { step } };
          results.push((await runStep(opened, optimizer, settings, request))!);
        }
        const { parameters, schedule } = opened;
        const kept = [...parameters, ...(schedule?.state ?? [])];
        return { results, ends: kept.map(({ name, data }) => [name, data.slice()]) };
      };

      const whole = await begin();
      whole.opened.schedule?.begin(6);
      const first = await steps(whole, 0);
      const checkpoint = await saveCheckpoint(
        join(folder, "checkpoints"),
        whole.opened,
        whole.optimizer,
        { state: { ...initialLoopState(), step: 3 }, settings },
      );
      const expected = await steps(whole, 3);
      await whole.opened.dispose();
      expect(expected).not.toEqual(first);

      const again = await begin(join(checkpoint, "adapter"));
      await loadCheckpoint(checkpoint, again.opened, again.optimizer);
      again.opened.schedule?.begin(6);
      expect(await steps(again, 3)).toEqual(expected);
      await again.opened.dispose();
    });
  },
);

it("a 16-bit checkpoint stays 16-bit in memory, and computes what its widened form does", async () => {
  const [half, wide] = [
    await openTiny("f16-weights"),
    await openTiny("f16-weights", { dtype: "float32" }),
  ];
  expect(half.weights.bytes).toBeLessThan(0.6 * wide.weights.bytes);
  const inputIds = [[1, 5, 9, 13]];
  expect(await half.forward({ inputIds })).toEqual(await wide.forward({ inputIds }));
  await half.dispose();
  await wide.dispose();
});

it("rows do not see each other", async () => {
  const model = await openTiny("base");
  const together = (await model.forward(batchOf([rows[0], [...rows[1], 0, 0, 0]]))).logits.data;
  const alone = (await model.forward(batchOf([rows[0]]))).logits.data;
  expect(arrayDifference(together.slice(0, alone.length), alone)).toBeLessThan(1e-5);
  await model.dispose();
});
