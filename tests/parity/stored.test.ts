// Fidelity: logits, losses, gradients, optimizer trajectories and initialisations against what
// transformers and PEFT computed (tests/parity/README.md), through the public API.

import { readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createDecoder } from "../../src/engine/decoding/decoder.ts";
import { createReadImages } from "../../src/engine/decoding/read-images.ts";
import { openModel } from "../../src/engine/load.ts";
import { readAdapter } from "../../src/hub/index.ts";
import { type LoadedModel, type LoadModelOptions, loadModel } from "../../src/index.ts";
import { arrayDifference } from "../../src/runtime/testing/array-difference.ts";
import {
  CASES,
  expectedTensors,
  type InitCase,
  type PointCase,
  readCase,
  storedCases,
  type TrajectoryCase,
  withoutPadding,
} from "./stored-cases.ts";

const POINT_TOLERANCE = 1e-4;
const TRAJECTORY_TOLERANCE = 1e-3;

/** Where the cases of the other groups are compared. */
const TESTED_ELSEWHERE: Readonly<Record<string, string>> = {
  ggml: "src/hub/gguf/gguf-quantize.test.ts",
  gguf: "src/hub/gguf/gguf-dequantize.test.ts",
  "image-processor": "src/hub/images/image-processor.test.ts",
  packed: "src/hub/quantization/packed-integers.test.ts",
  merge: "src/adapters/merge-adapters.test.ts",
  quantization: "src/hub/quantization/quantization.test.ts",
  sampling: "src/generate/score-processors.test.ts",
  icetk: "src/hub/tokenizers/icetk.test.ts",
  tokenizer: "src/hub/tokenizers/tokenizer.test.ts",
  smollm2: "src/hub/tokenizers/tokenizer.test.ts",
  gemma3: "tests/parity/gemma3-greedy.test.ts",
};

/** Those that are compared here. */
const GROUPS = [
  "adalora",
  "adapterhub",
  "architectures",
  "classification",
  "eva",
  "glm",
  "gpt",
  "images",
  "llama",
  "lora",
  "moe",
  "prompts",
  "qlora",
  "tuners",
  "xlora",
];

const cases = GROUPS.flatMap(storedCases);
const ofKind = <K extends (typeof cases)[number]["kind"]>(kind: K) =>
  cases.filter((one) => one.kind === kind) as Extract<(typeof cases)[number], { kind: K }>[];

const trainedAsStored = ({ model, adapter, method }: PointCase | TrajectoryCase) => ({
  reference: model,
  options: adapter ? { adapter } : method ? { method } : { trainable: true },
});

const magnitude = (values: Float32Array) =>
  values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

async function withModel(
  reference: string,
  options: LoadModelOptions,
  use: (model: LoadedModel) => Promise<void>,
): Promise<void> {
  const model = await loadModel(reference, { threads: 1, ...options });
  try {
    await use(model);
  } finally {
    await model.dispose();
  }
}

describe.each(["fast", "lean"] as const)("memory %s", (memory) => {
  it.each(ofKind("point"))("$name: $shows", async (stored) => {
    const { reference, options } = trainedAsStored(stored);
    const expected = await expectedTensors(stored.folder, "gradients");
    const [logits] = (await expectedTensors(stored.folder, "logits")).values();
    await withModel(reference, { ...options, memory }, async (model) => {
      const run = await model.forward(stored.batch);
      const own = withoutPadding(run.logits.data, stored.batch);
      expect(arrayDifference(own, logits!)).toBeLessThan(POINT_TOLERANCE);
      expect(arrayDifference([run.loss!], [stored.loss])).toBeLessThan(POINT_TOLERANCE);

      const { loss, gradients } = await model.lossAndGradients(stored.batch);
      const expectedLoss = stored.loss + stored.methodLoss;
      expect(arrayDifference([loss], [expectedLoss])).toBeLessThan(POINT_TOLERANCE);
      expect(Object.keys(gradients).sort()).toEqual([...expected.keys()].sort());
      const largest = Math.max(...[...expected.values()].map(magnitude));
      for (const [key, values] of expected) {
        const { data } = gradients[key]!;
        // A gradient that is zero by the formula is so here but for rounding.
        const difference =
          magnitude(values) === 0 ? magnitude(data) / largest : arrayDifference(data, values);
        expect(difference, key).toBeLessThan(POINT_TOLERANCE);
      }
    });
  });
});

const answered = ofKind("point").filter(({ greedy }) => greedy.length > 0);
it.each(answered)("$name: the same tokens follow its prompts", async ({ model, greedy }) => {
  const opened = await openModel(model, { threads: 1 });
  try {
    for (const { prompt, pixelValues, tokens } of greedy) {
      const decoder = createDecoder(opened, { chunk: 4 });
      const images = pixelValues && (await createReadImages(opened)(prompt, pixelValues));
      const own: number[] = [];
      for (let next = [...prompt]; own.length < tokens.length; next = [own.at(-1)!]) {
        const [logits] = await decoder.append([next], own.length === 0 ? [images] : []);
        own.push(logits!.indexOf(Math.max(...logits!)));
      }
      expect(own).toEqual(tokens);
    }
  } finally {
    await opened.dispose();
  }
});

it.each(ofKind("trajectory"))("$name: $shows", async (stored) => {
  const { reference, options } = trainedAsStored(stored);
  const { batches, optimizer, losses, gradientNorms } = stored;
  await withModel(reference, options, async (model) => {
    const results = [];
    for (let step = 0; step < losses.length; step++)
      results.push(await model.trainStep(batches[step % batches.length]!, optimizer));
    const worst = (own: readonly number[], theirs: readonly number[]) =>
      Math.max(...own.map((value, i) => arrayDifference([value], [theirs[i]!])));
    const norms = results.map(({ gradNorm }) => gradNorm);
    expect(
      worst(
        results.map(({ loss }) => loss),
        losses,
      ),
    ).toBeLessThan(TRAJECTORY_TOLERANCE);
    expect(worst(norms, gradientNorms)).toBeLessThan(TRAJECTORY_TOLERANCE);
    for (const [key, values] of await expectedTensors(stored.folder, "final"))
      expect(arrayDifference(model.parameters[key]!.data, values), key).toBeLessThan(
        TRAJECTORY_TOLERANCE,
      );
  });
});

const pruning = ofKind("trajectory").flatMap(({ rankPatterns, ...stored }) =>
  rankPatterns ? [{ ...stored, rankPatterns }] : [],
);
it.each(pruning)("$name: the same ranks are kept at each step", async (stored) => {
  const { reference, options } = trainedAsStored(stored);
  const { batches, optimizer, rankPatterns } = stored;
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-ranks-"));
  try {
    await withModel(reference, options, async (model) => {
      for (const [step, expected] of rankPatterns.entries()) {
        await model.trainStep(batches[step % batches.length]!, optimizer);
        await model.saveAdapter(folder);
        const config = JSON.parse(readFileSync(join(folder, "adapter_config.json"), "utf8"));
        expect(config.rank_pattern, `after step ${step}`).toEqual(expected);
      }
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});

/** Initialisations that the weights determine: the product s · B A is stored. */
const FROM_WEIGHTS = ["olora", "pissa"];
/** One whose B the weights determine, and which freezes it: the product B Bᵀ is stored. */
const FROZEN = ["mica"];
/** One that chance has a part in; src/engine/weights/lora-from-base.test.ts checks what it promises. */
const APPROXIMATE = ["pissa_niter_16"];
const isMeasured = (name: string) => ![...FROM_WEIGHTS, ...FROZEN, ...APPROXIMATE].includes(name);

describe.each(ofKind("init"))("$name: $shows", ({ folder, model, settings, variants }) => {
  const withInit = (name: string, use: (model: LoadedModel) => Promise<void>) => {
    const init = name === "true" || name === "false" ? name === "true" : name;
    const method = { name: "lora", ...settings, init } as LoadModelOptions["method"];
    return withModel(model, { method }, use);
  };

  it.each(Object.keys(variants).filter(isMeasured))("%s", async (name) => {
    await withInit(name, async ({ parameters }) => {
      for (const matrix of ["A", "B"] as const) {
        const values = Object.entries(parameters)
          .filter(([key]) => key.endsWith(`.lora_${matrix}.weight`))
          .flatMap(([, { data }]) => [...data]);
        const deviation = Math.sqrt(
          values.reduce((total, value) => total + value * value, 0) / values.length,
        );
        const theirs = variants[name]!.measured![matrix].standardDeviation;
        // About a thousand draws: the deviation is known to a few percent.
        expect(Math.abs(deviation - theirs)).toBeLessThanOrEqual(0.08 * theirs);
      }
    });
  });

  it.each(FROM_WEIGHTS)("%s", async (name) => {
    const expected = await expectedTensors(folder, name);
    expect(expected.size).toBe(6);
    await withInit(name, async ({ parameters }) => {
      for (const [path, theirs] of expected) {
        const [a, b] = ["A", "B"].map(
          (matrix) => parameters[`base_model.model.${path}.lora_${matrix}.weight`]!,
        );
        const { rank, alpha } = settings;
        const inputSize = a!.shape[1]!;
        const own = theirs.map((_, i) => {
          const [row, column] = [Math.floor(i / inputSize), i % inputSize];
          let sum = 0;
          for (let r = 0; r < rank; r++)
            sum += b!.data[row * rank + r]! * a!.data[r * inputSize + column]!;
          return (alpha / rank) * sum;
        });
        expect(arrayDifference(own, theirs), path).toBeLessThan(POINT_TOLERANCE);
      }
    });
  });

  it.each(FROZEN)("%s", async (name) => {
    const expected = await expectedTensors(folder, name);
    expect(expected.size).toBe(6);
    const scratch = await mkdtemp(join(tmpdir(), "tunesmith-case-"));
    try {
      await withInit(name, (made) => made.saveAdapter(scratch));
      const { tensors } = await readAdapter(scratch);
      for (const [path, theirs] of expected) {
        const b = tensors.get(`base_model.model.${path}.lora_B.weight`)!.data;
        const { rank } = settings;
        const size = b.length / rank;
        const own = theirs.map((_, i) => {
          const [row, column] = [Math.floor(i / size), i % size];
          let sum = 0;
          for (let r = 0; r < rank; r++) sum += b[row * rank + r]! * b[column * rank + r]!;
          return sum;
        });
        expect(arrayDifference(own, theirs), path).toBeLessThan(POINT_TOLERANCE);
      }
    } finally {
      await rm(scratch, { recursive: true });
    }
  });
});

it.each(ofKind("start"))("$name: $shows", async ({ model, adapter, method, batches, lookedAt }) => {
  const scratch = await mkdtemp(join(tmpdir(), "tunesmith-case-"));
  let taken = 0;
  const data = {
    *[Symbol.iterator]() {
      for (const batch of batches) {
        taken++;
        yield batch;
      }
    },
  };
  try {
    await withModel(model, { method, data }, (made) => made.saveAdapter(scratch));
    const [own, theirs] = [await readAdapter(scratch), await readAdapter(adapter)];
    // As numbers: 6 and 6.0 are one.
    for (const key of ["r", "lora_alpha", "rank_pattern", "alpha_pattern", "eva_config"])
      expect(JSON.stringify(own.config[key]), key).toBe(JSON.stringify(theirs.config[key]));
    expect([...own.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
    for (const [key, { data, shape }] of theirs.tensors) {
      expect(own.tensors.get(key)!.shape, key).toEqual(shape);
      expect(arrayDifference(own.tensors.get(key)!.data, data), key).toBeLessThan(POINT_TOLERANCE);
    }
    expect(taken).toBe(lookedAt);
  } finally {
    await rm(scratch, { recursive: true });
  }
});

describe("coverage", () => {
  it("leaves no group of cases untested", () => {
    const groups = readdirSync(CASES, { withFileTypes: true }).filter((one) => one.isDirectory());
    const tested = [...GROUPS, ...Object.keys(TESTED_ELSEWHERE)].sort();
    expect(groups.map(({ name }) => name).sort()).toEqual(tested);
    for (const [group, file] of Object.entries(TESTED_ELSEWHERE))
      expect(readFileSync(join(import.meta.dirname, "../..", file), "utf8")).toContain(group);
  });

  it("leaves no initialisation untested", () => {
    const { variants } = cases.find((one): one is InitCase => one.kind === "init")!;
    const offered = Object.entries(variants);
    for (const [name, { measured }] of offered)
      expect(measured !== undefined, name).toBe(isMeasured(name));
    expect(offered.length).toBeGreaterThanOrEqual(8);
  });

  it("refuses a folder of a kind that no test knows", async () => {
    const folder = await mkdtemp(join(tmpdir(), "tunesmith-case-"));
    try {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, "case.json"), JSON.stringify({ model: ".", perplexity: 3 }));
      expect(() => readCase(folder, "odd")).toThrow("no test covers");
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("measures differences so that a wrong value shows", () => {
    expect(arrayDifference([1, 2.002], [1, 2])).toBeCloseTo(1e-3, 9);
    expect(arrayDifference([1, Number.NaN], [1, 2])).toBeNaN();
    expect(() => arrayDifference([1], [1, 2])).toThrow("1 values where 2");
  });
});
