// What a method keeps to on an architecture, as a suite of checks: its tensors, its start, its gradients,
// learning, saving, loading and merging.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import { type EngineModel, openModel } from "../load.ts";
import { contractBatches } from "./contract-batches.ts";
import { expectLearning, expectOwnTensors, slopeError } from "./contract-checks.ts";
import { logitsOf, openWith } from "./contract-subjects.ts";
import type { MethodEntry } from "./method-entries.ts";
import { differentiate, largestDifference, openTiny, type TinyModel } from "./tiny-models.ts";

/** Of logits from equal weights, and from weights that were made again and so rounded once more. */
const [SAME, REMADE] = [1e-6, 1e-5];

/** Declares the checks, within a `describe`. */
export function methodContract(tiny: TinyModel, entry: MethodEntry): void {
  const { startsAsBase, learningRate, mixesPositions, quantization } = entry;
  const tolerance = entry.remakesBase ? REMADE : SAME;
  const { batch, packed, alone } = contractBatches(tiny);
  const [first] = alone;
  let folder: string;
  let model: EngineModel;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tunesmith-contract-"));
    model = await openWith(tiny, entry);
  });
  afterAll(async () => {
    await model.dispose();
    await rm(folder, { recursive: true });
  });

  it("declares tensors of its own names and shapes", () => expectOwnTensors(model));

  it.runIf(startsAsBase)("changes nothing before it is trained", async () => {
    const base = await openTiny(tiny, { quantization });
    expect(arrayDifference(await logitsOf(model, first), await logitsOf(base, first))).toBeLessThan(
      tolerance,
    );
    await base.dispose();
  });

  it("gives the same gradients lean or fast, padded or packed, at once or accumulated", async () => {
    const padded = await differentiate(model, [batch]);
    if (mixesPositions)
      await expect(differentiate(model, [packed])).rejects.toThrow("a row holds one sample");
    else if (!entry.looksAtBatch) {
      expect(largestDifference(await differentiate(model, alone), padded)).toBeLessThan(1e-4);
      expect(largestDifference(await differentiate(model, [packed]), padded)).toBeLessThan(1e-4);
    }
    const lean = await openWith(tiny, entry, { memory: "lean" });
    expect(largestDifference(await differentiate(lean, [batch]), padded)).toBeLessThan(1e-4);
    await lean.dispose();
  });

  it.skipIf(entry.withoutSlope)(
    "has the gradient that the loss's slope along it shows",
    async () => {
      expect(await slopeError(model, batch)).toBeLessThan(0.01);
    },
  );

  it("learns, and stays what it was through saving, loading and merging", async () => {
    await expectLearning(model, learningRate, batch);

    const trained = await logitsOf(model, first);
    await model.saveAdapter(join(folder, "saved"));
    const saved =
      model.method?.saved === "checkpoint"
        ? await openModel(join(folder, "saved"), { threads: 1 })
        : await openTiny(tiny, { adapter: join(folder, "saved"), quantization });
    expect(arrayDifference(await logitsOf(saved, first), trained)).toBeLessThan(tolerance);
    await saved.dispose();

    if (model.method?.unmergeable) {
      await expect(model.merge(join(folder, "merged"))).rejects.toThrow(/can be made part/);
      return;
    }
    await model.merge(join(folder, "merged"));
    const merged = await openModel(join(folder, "merged"), { threads: 1 });
    expect(arrayDifference(await logitsOf(merged, first), trained)).toBeLessThan(REMADE);
    await merged.dispose();
    expect(await logitsOf(model, first)).toEqual(trained);
  });
}
