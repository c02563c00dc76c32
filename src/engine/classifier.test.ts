// Classifiers in the engine: a model that continues texts gets a head for labels on every architecture,
// learns by it, and is saved so that it says the same when it is opened again.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readAdapter } from "../hub/index.ts";
import type { MethodOptions } from "../methods/index.ts";
import type { Classifier, Problem } from "../models/index.ts";
import { createOptimizer, zeroGradients } from "../runtime/optimizer.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import type { Batch } from "./batch.ts";
import { createDecoder } from "./decoding/decoder.ts";
import type { EngineModel, OpenOptions } from "./load.ts";
import { openModel } from "./load.ts";
import { rows } from "./testing/contract-batches.ts";
import { ARCHITECTURES } from "./testing/contract-subjects.ts";
import { openTiny, type TinyModel } from "./testing/tiny-models.ts";

const LORA: MethodOptions = { name: "lora", rank: 4, alpha: 8, targets: "all-linear" };
const MOODS: Classifier = {
  labels: ["good", "bad", "none"],
  problem: "single_label_classification",
};

const batchOf = (rowLabels?: readonly (readonly number[])[]): Batch => ({
  inputIds: [rows[0], [...rows[1], 0, 0, 0]],
  attentionMask: [rows[0].map(() => 1), [1, 1, 1, 1, 1, 1, 0, 0, 0]],
  ...(rowLabels && { rowLabels }),
});
const labelled = batchOf([[2], [0]]);

async function using<T>(
  tiny: TinyModel,
  options: OpenOptions,
  use: (model: EngineModel) => Promise<T>,
): Promise<T> {
  const model = await openTiny(tiny, options);
  try {
    return await use(model);
  } finally {
    await model.dispose();
  }
}

const inFolder = async (use: (folder: string) => Promise<void>) => {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-classifier-"));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
};

/** The loss before each of some AdamW steps. */
async function learn(model: EngineModel, batch: Batch, steps = 6): Promise<number[]> {
  const optimizer = createOptimizer(model.parameters, { name: "adamw" });
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    zeroGradients(model.parameters);
    const { lossSum, tokenCount } = await model.accumulateGradients(batch, { scale: 1 / 2 });
    losses.push(lossSum / tokenCount);
    optimizer.step(1e-2);
  }
  return losses;
}

const logitsOf = async (model: EngineModel, batch = batchOf()) =>
  (await model.forward(batch)).logits.data;

describe.each(Object.values(ARCHITECTURES).flat())("%s", (tiny) => {
  it("learns labels, and says the same from its saved adapter", async () => {
    await inFolder(async (folder) => {
      const options: OpenOptions = { classifier: MOODS, method: LORA, seed: 3 };
      const said = await using(tiny, options, async (model) => {
        const losses = await learn(model, labelled);
        expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]!);
        const { logits } = await model.forward(batchOf());
        expect(logits.shape).toEqual([2, 3]);
        await model.saveAdapter(folder);
        return logits.data;
      });
      await using(tiny, { adapter: folder }, async (model) => {
        expect(model.architecture.classifier?.labels).toEqual(MOODS.labels);
        expect(await logitsOf(model)).toEqual(said);
      });
    });
  });

  it("reads the last token of each text, whatever stands behind it", async () => {
    await using(tiny, { classifier: MOODS }, async (model) => {
      const both = await logitsOf(model);
      for (const [index, row] of rows.entries()) {
        const alone = await logitsOf(model, { inputIds: [row] });
        expect(arrayDifference(alone, both.subarray(3 * index, 3 * index + 3))).toBeLessThan(1e-5);
      }
    });
  });
});

describe.each<[Problem, Classifier["labels"], number[][]]>([
  ["single_label_classification", ["a", "b", "c"], [[2], [0]]],
  [
    "multi_label_classification",
    ["a", "b", "c"],
    [
      [1, 0, 1],
      [0, 0, 1],
    ],
  ],
  ["regression", ["score"], [[0.7], [-1.5]]],
  [
    "regression",
    ["x", "y"],
    [
      [0.7, 2],
      [-1.5, 0],
    ],
  ],
])("%s of %j", (problem, labels, rowLabels) => {
  const options: OpenOptions = { classifier: { labels, problem }, method: LORA, seed: 5 };

  it("costs what the formula says, in evaluation as in training", async () => {
    await using("base", options, async (model) => {
      const batch = batchOf(rowLabels);
      const { lossSum, tokenCount, logits } = await model.evaluateLoss(batch);
      expect(arrayDifference(logits!, await logitsOf(model))).toBeLessThan(1e-6);
      const expected = rowLabels.reduce((sum, values, row) => {
        const own = [...logits!.subarray(row * labels.length, (row + 1) * labels.length)];
        return sum + COSTS[problem](own, values);
      }, 0);
      expect(tokenCount).toBe(2);
      expect(lossSum).toBeCloseTo(expected, 5);
      const trained = await model.accumulateGradients(batch, { scale: 1 });
      expect(trained.lossSum).toBeCloseTo(expected, 5);
    });
  });

  it("has the gradient that a small step finds", async () => {
    await using("base", options, async (model) => {
      const batch = batchOf(rowLabels);
      zeroGradients(model.parameters);
      await model.accumulateGradients(batch, { scale: 1 });
      const gradients = model.parameters.map(({ gradient }) => gradient.slice());
      const squares = gradients.flatMap((values) => [...values]).reduce((sum, x) => sum + x * x, 0);
      const step = 1e-3 / Math.sqrt(squares);
      const at = async (factor: number) => {
        for (const [i, { data }] of model.parameters.entries())
          for (let j = 0; j < data.length; j++) data[j]! += factor * step * gradients[i]![j]!;
        return (await model.evaluateLoss(batch)).lossSum;
      };
      const [up, down] = [await at(1), await at(-2)];
      expect((up - down) / (2 * step * squares)).toBeCloseTo(1, 1);
    });
  });
});

const COSTS: Record<Problem, (logits: number[], values: number[]) => number> = {
  single_label_classification: (logits, [label]) =>
    Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0)) - logits[label!]!,
  multi_label_classification: (logits, values) =>
    mean(logits.map((z, i) => Math.log(1 + Math.exp(z)) - values[i]! * z)),
  regression: (logits, values) => mean(logits.map((z, i) => (z - values[i]!) ** 2)),
};
const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;

describe("what is saved", () => {
  it("is PEFT's adapter for SEQ_CLS, with the names of the labels beside it", async () => {
    await inFolder(async (folder) => {
      await using("base", { classifier: MOODS, method: LORA }, (model) =>
        model.saveAdapter(folder),
      );
      const { config, tensors, labels } = await readAdapter(folder);
      expect(config).toMatchObject({ task_type: "SEQ_CLS", modules_to_save: ["score"] });
      expect(tensors.get("base_model.model.score.weight")?.shape).toEqual([3, 32]);
      expect(labels?.id2label).toEqual({ 0: "good", 1: "bad", 2: "none" });
    });
  });

  it.each<[TinyModel, MethodOptions]>([
    ["base", { name: "full" }],
    ["untied-head", { name: "freeze", blocks: 1 }],
    ["untied-head", LORA],
  ])("%s with %j becomes a checkpoint as Transformers has it", async (tiny, method) => {
    await inFolder(async (folder) => {
      const said = await using(tiny, { classifier: MOODS, method }, async (model) => {
        const losses = await learn(model, labelled);
        expect(losses.at(-1)).toBeLessThan(losses[0]!);
        await model.merge(folder);
        return logitsOf(model);
      });
      const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8"));
      expect(config).toMatchObject({
        architectures: ["LlamaForSequenceClassification"],
        id2label: { 0: "good", 1: "bad", 2: "none" },
        label2id: { good: 0, bad: 1, none: 2 },
      });
      const model = await openModel(folder, { threads: 1 });
      expect(arrayDifference(await logitsOf(model), said)).toBeLessThan(1e-5);
      expect(model.weights.has("lm_head.weight")).toBe(false);
      await model.dispose();
    });
  });
});

it.each<[MethodOptions["name"]]>([
  ["lora"],
  ["dora"],
  ["qlora"],
  ["adalora"],
  ["bitfit"],
  ["ia3"],
  ["ln-tuning"],
  ["vera"],
  ["loha"],
  ["lokr"],
  ["oft"],
  ["boft"],
  ["hra"],
  ["miss"],
  ["fourierft"],
  ["full"],
  ["freeze"],
])("%s trains the head too", async (name) => {
  const method = {
    name,
    ...(name === "oft" && { blockSize: 4 }),
    ...(name === "miss" && { rank: 4 }),
    ...(name === "fourierft" && { frequencies: 8 }),
  } as MethodOptions;
  await using("biases", { classifier: MOODS, method }, async (model) => {
    expect(model.parameters.filter(({ name }) => name.endsWith("score.weight"))).toHaveLength(1);
    const losses = await learn(model, labelled, 3);
    expect(losses.at(-1)).toBeLessThan(losses[0]!);
  });
});

describe("faults", () => {
  const opened = (options: OpenOptions) => using("base", options, async () => {});

  it("names methods whose files have no place for a head", async () => {
    const method: MethodOptions = { name: "prompt" };
    await expect(opened({ classifier: MOODS, method })).rejects.toThrow("no whole modules");
  });

  it.each<[string, Batch, string]>([
    ["a label that there is not", batchOf([[3], [0]]), "between 0 and 2"],
    ["too few rows", batchOf([[1]]), "1 rows"],
    [
      "values for a label",
      batchOf([
        [1, 0, 0],
        [0, 1, 0],
      ]),
      "row 0 with 3",
    ],
    ["packed rows", { ...labelled, segmentIds: labelled.attentionMask! }, "packed rows"],
  ])("refuses %s", async (_, batch, seen) => {
    await using("base", { classifier: MOODS, method: LORA }, async (model) => {
      await expect(model.evaluateLoss(batch)).rejects.toThrow(seen);
    });
  });

  it("refuses labels of rows for a model that continues texts", async () => {
    await using("base", {}, async (model) => {
      await expect(model.evaluateLoss(labelled)).rejects.toThrow("continues texts");
    });
  });

  it("continues no text with a classifier", async () => {
    await using("base", { classifier: MOODS }, async (model) => {
      expect(() => createDecoder(model)).toThrow("a classifier of good, bad, none");
    });
  });
});
