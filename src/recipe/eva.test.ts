// EVA through a recipe: the look at data before the first step, what a resumed run takes over, and how
// it is stopped and refused.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openModel } from "../engine/load.ts";
import type { MethodOptions } from "../methods/index.ts";
import type { PrepareProgress } from "./attention.ts";
import type { RecipeInput } from "./schema.ts";
import { tinyChats, writeTinyModel } from "./testing/tiny-model.ts";
import { type TrainOptions, train } from "./train.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-eva-"));
  await writeTinyModel(join(folder, "model"));
  await writeFile(join(folder, "train.jsonl"), tinyChats(16));
});
afterAll(() => rm(folder, { recursive: true }));

const EVA = { name: "lora", rank: 2, init: "eva", evaRho: 3 } as const;

const recipeOf = (run: string, method: MethodOptions, maxSteps: number) =>
  ({
    model: { path: join(folder, "model") },
    data: { train: join(folder, "train.jsonl") },
    method,
    train: { maxSteps, saveEvery: 2, schedule: "constant", warmup: 0 },
    compute: { threads: 1 },
    output: join(folder, run),
  }) as RecipeInput;

async function run(recipe: RecipeInput, options: TrainOptions = {}): Promise<number[]> {
  const losses: number[] = [];
  for await (const event of train(recipe, options))
    if (event.type === "step-finished") losses.push(event.loss);
  return losses;
}

const adapterOf = async (name: string) =>
  Promise.all(
    ["adapter_config.json", "adapter_model.safetensors"].map((file) =>
      readFile(join(folder, name, "adapter", file)),
    ),
  );

it.each(["lora", "dora"] as const)(
  "%s: a resumed run has the ranks that were decided, and goes on bit for bit",
  async (name) => {
    const method = { ...EVA, name };
    const looks: PrepareProgress[] = [];
    const losses = await run(recipeOf(`${name}-whole`, method, 4), {
      onProgress: (progress) => looks.push(progress),
    });
    const last = looks.findLast((progress) => progress.stage === "look")!;
    expect(last.settled).toBe(last.modules);

    const begun = recipeOf(`${name}-resumed`, method, 2);
    const first = await run(begun);
    const again: PrepareProgress[] = [];
    const second = await run(recipeOf(`${name}-resumed`, method, 4), {
      resume: true,
      onProgress: (progress) => again.push(progress),
    });
    expect(again.filter(({ stage }) => stage === "look")).toEqual([]);
    expect([...first, ...second]).toEqual(losses);
    const [config, tensors] = await adapterOf(`${name}-whole`);
    expect(await adapterOf(`${name}-resumed`)).toEqual([config, tensors]);
    const { rank_pattern: ranks, init_lora_weights: init } = JSON.parse(String(config));
    expect(Object.keys(ranks).length).toBeGreaterThan(2);
    expect(init).toBe("eva");
  },
);

it("the adapter of such a run is loaded as any other", async () => {
  const adapter = join(folder, "lora-whole", "adapter");
  const model = await openModel(join(folder, "model"), { adapter, threads: 1 });
  expect(model.parameters.length).toBeGreaterThan(0);
  await model.dispose();
});

it("stops while it looks", async () => {
  const stop = new AbortController();
  const stopped = run(recipeOf("stopped", EVA, 2), {
    signal: stop.signal,
    onProgress: ({ stage }) => stage === "look" && stop.abort(new Error("enough")),
  });
  await expect(stopped).rejects.toThrow("enough");
});

it("does not begin to look where it is to stop", async () => {
  const batches = () => {
    throw new Error("looked");
  };
  const signal = AbortSignal.abort(new Error("enough"));
  const options = { method: EVA, data: { batches }, signal, threads: 1 };
  const opening = openModel(join(folder, "model"), options);
  await expect(opening).rejects.toThrow("enough");
});

it("refuses a batch that shows too little", async () => {
  const method = { ...EVA, rank: 16, evaRho: 2 };
  const recipe = recipeOf("small", method, 2);
  await expect(run({ ...recipe, train: { batchSize: 1 } } as RecipeInput)).rejects.toThrow(
    /positions[\s\S]*larger batches \(a recipe's train\.batchSize/,
  );
});

it("is refused where there is nothing to look at", async () => {
  await expect(openModel(join(folder, "model"), { method: EVA })).rejects.toThrow(
    /has data to look at[\s\S]*pass batches/,
  );
});
