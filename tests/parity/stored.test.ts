// Fidelity: logits, losses, gradients, optimizer trajectories and initialisations against what
// transformers and PEFT computed (tests/parity/README.md), through the public API.

import { readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type LoadedModel, type LoadModelOptions, loadModel } from "../../src/index.ts";
import {
  CASES,
  expectedTensors,
  type InitCase,
  type PointCase,
  readCase,
  relativeDifference,
  storedCases,
  type TrajectoryCase,
  withoutPadding,
} from "./stored-cases.ts";

const POINT_TOLERANCE = 1e-4;
const TRAJECTORY_TOLERANCE = 1e-3;

/** Adapters that PEFT makes and tunesmith refuses, with what it says. */
const REFUSED: Readonly<Record<string, RegExp>> = {
  "lora/olora-as-trained": /"olora", which changes the base weights/,
  "lora/pissa-as-trained": /"pissa", which changes the base weights/,
  "lora/target-head": /"lm_head" matches no module[\s\S]*modulesToSave: \["lm_head"\]/,
};

/** Initialisations that PEFT offers and tunesmith does not, with the reason. */
const INIT_NOT_OFFERED: Readonly<Record<string, string>> = {
  pissa: "changes the base weights",
  pissa_niter_16: "changes the base weights",
  olora: "changes the base weights",
  mica: "freezes half of the adapter",
};

/** Where the cases of the other groups are compared. */
const TESTED_ELSEWHERE: Readonly<Record<string, string>> = {
  gguf: "src/hub/gguf-dequantize.test.ts",
  tokenizer: "src/hub/tokenizer.test.ts",
  smollm2: "src/hub/tokenizer.test.ts",
};

const cases = [...storedCases("llama"), ...storedCases("lora")];
const ofKind = <K extends (typeof cases)[number]["kind"]>(kind: K) =>
  cases.filter((one) => one.kind === kind && !(one.name in REFUSED)) as Extract<
    (typeof cases)[number],
    { kind: K }
  >[];

const trainedAsStored = ({ model, adapter }: PointCase | TrajectoryCase) => ({
  reference: model,
  options: adapter ? { adapter } : { trainable: true },
});

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
      expect(relativeDifference(own, logits!)).toBeLessThan(POINT_TOLERANCE);
      expect(relativeDifference([run.loss!], [stored.loss])).toBeLessThan(POINT_TOLERANCE);

      const { loss, gradients } = await model.lossAndGradients(stored.batch);
      expect(relativeDifference([loss], [stored.loss])).toBeLessThan(POINT_TOLERANCE);
      expect(Object.keys(gradients).sort()).toEqual([...expected.keys()].sort());
      for (const [key, values] of expected)
        expect(relativeDifference(gradients[key]!.data, values), key).toBeLessThan(POINT_TOLERANCE);
    });
  });
});

it.each(ofKind("trajectory"))("$name: $shows", async (stored) => {
  const { reference, options } = trainedAsStored(stored);
  const { batches, optimizer, losses, gradientNorms } = stored;
  await withModel(reference, options, async (model) => {
    const results = [];
    for (let step = 0; step < losses.length; step++)
      results.push(await model.trainStep(batches[step % batches.length]!, optimizer));
    const worst = (own: readonly number[], theirs: readonly number[]) =>
      Math.max(...own.map((value, i) => relativeDifference([value], [theirs[i]!])));
    const norms = results.map(({ gradNorm }) => gradNorm);
    expect(
      worst(
        results.map(({ loss }) => loss),
        losses,
      ),
    ).toBeLessThan(TRAJECTORY_TOLERANCE);
    expect(worst(norms, gradientNorms)).toBeLessThan(TRAJECTORY_TOLERANCE);
    for (const [key, values] of await expectedTensors(stored.folder, "final"))
      expect(relativeDifference(model.parameters[key]!.data, values), key).toBeLessThan(
        TRAJECTORY_TOLERANCE,
      );
  });
});

describe.each(ofKind("init"))("$name: $shows", ({ model, settings, variants }) => {
  it.each(Object.entries(variants).filter(([name]) => !(name in INIT_NOT_OFFERED)))(
    "%s",
    async (name, { measured }) => {
      const init = name === "true" || name === "false" ? name === "true" : name;
      const method = { name: "lora", ...settings, init } as LoadModelOptions["method"];
      await withModel(model, { method }, async ({ parameters }) => {
        for (const matrix of ["A", "B"] as const) {
          const values = Object.entries(parameters)
            .filter(([key]) => key.endsWith(`.lora_${matrix}.weight`))
            .flatMap(([, { data }]) => [...data]);
          const deviation = Math.sqrt(
            values.reduce((total, value) => total + value * value, 0) / values.length,
          );
          const theirs = measured![matrix].standardDeviation;
          // About a thousand draws: the deviation is known to a few percent.
          expect(Math.abs(deviation - theirs)).toBeLessThanOrEqual(0.08 * theirs);
        }
      });
    },
  );
});

it.each(Object.entries(REFUSED))("%s is refused, with the way out", async (name, message) => {
  const { model, adapter } = cases.find((stored) => stored.name === name)!;
  await expect(loadModel(model, { adapter })).rejects.toThrow(message);
});

describe("coverage", () => {
  it("leaves no group of cases untested", () => {
    const groups = readdirSync(CASES, { withFileTypes: true }).filter((one) => one.isDirectory());
    const tested = ["llama", "lora", ...Object.keys(TESTED_ELSEWHERE)].sort();
    expect(groups.map(({ name }) => name).sort()).toEqual(tested);
    for (const [group, file] of Object.entries(TESTED_ELSEWHERE))
      expect(readFileSync(join(import.meta.dirname, "../..", file), "utf8")).toContain(group);
  });

  it("leaves no initialisation untested", () => {
    const { variants } = cases.find((one): one is InitCase => one.kind === "init")!;
    const offered = Object.entries(variants).filter(([name]) => !(name in INIT_NOT_OFFERED));
    expect(offered.every(([, { measured }]) => measured !== undefined)).toBe(true);
    expect(offered.length).toBeGreaterThanOrEqual(4);
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
    expect(relativeDifference([1, 2.002], [1, 2])).toBeCloseTo(1e-3, 9);
    expect(relativeDifference([1, Number.NaN], [1, 2])).toBeNaN();
    expect(() => relativeDifference([1], [1, 2])).toThrow("1 values where 2");
  });
});
