import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openTiny } from "../engine/testing/tiny-models.ts";
import type { MethodOptions } from "../methods/index.ts";
import { runTraining, type TrainingOptions } from "./loop.ts";
import { toyOptions, trainToEnd, useTemporaryFolders } from "./testing/helpers.ts";

const makeFolder = useTemporaryFolders();

const METHOD: MethodOptions = {
  name: "adalora",
  initialRank: 3,
  targetRank: 1,
  initialSteps: 1,
  finalSteps: 3,
  beta1: 0.95,
  beta2: 0.95,
};

const settings = { maxSteps: 12, saveEvery: 5, learningRate: 0.02, keepBest: false };

async function run<T>(
  folder: string,
  given: Partial<TrainingOptions>,
  use: (options: TrainingOptions) => Promise<T>,
  method = METHOD,
): Promise<T> {
  const model = await openTiny("base", { method, seed: 3 });
  try {
    return await use(
      toyOptions(folder, { ...given, model, settings: { ...settings, ...given.settings } }),
    );
  } finally {
    await model.dispose();
  }
}

const adapterOf = async (folder: string) => ({
  config: JSON.parse(await readFile(join(folder, "adapter/adapter_config.json"), "utf8")),
  tensors: await readFile(join(folder, "adapter/adapter_model.safetensors")),
});

describe("a method that prunes while it trains", () => {
  it("follows the loop's own steps to its target, and is saved with the ranks that are left", async () => {
    const folder = await makeFolder();
    const { steps } = await run(folder, {}, trainToEnd);
    expect(steps.every(({ methodLoss }) => methodLoss! > 0)).toBe(true);
    const { config } = await adapterOf(folder);
    expect(config).toMatchObject({ total_step: 12, tinit: 1, tfinal: 3, init_r: 3 });
    const kept = Object.values<boolean[]>(config.rank_pattern).flat();
    expect(kept.length).toBe(14 * 3);
    expect(kept.filter((stays) => stays).length).toBe(14 * 1);
  });

  it.each([6, 11])("resumes after step %i as if it had never stopped", async (at) => {
    const [whole, parts] = [await makeFolder(), await makeFolder()];
    const uninterrupted = await run(whole, {}, trainToEnd);
    const abort = new AbortController();
    await run(parts, { signal: abort.signal }, async (options) => {
      for await (const event of runTraining(options))
        if (event.type === "step-finished" && event.step === at) abort.abort();
    });
    const { steps } = await run(parts, { resume: true }, trainToEnd);
    const numbers = ({ step, loss, methodLoss, gradientNorm }: (typeof steps)[number]) => [
      step,
      loss,
      methodLoss,
      gradientNorm,
    ];
    expect(steps.map(numbers)).toEqual(uninterrupted.steps.slice(at).map(numbers));
    expect(await adapterOf(parts)).toEqual(await adapterOf(whole));
  });

  it("is refused where its plan leaves no steps, before anything is written", async () => {
    const folder = await makeFolder();
    const method: MethodOptions = { ...METHOD, initialSteps: 9 };
    await expect(run(folder, {}, trainToEnd, method)).rejects.toThrow(
      /steps left for pruning[\s\S]*9 initial and 3 final steps of 12/,
    );
  });
});
