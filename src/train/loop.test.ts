import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { TunesmithError } from "../errors.ts";
import { openSafetensors } from "../hub/safetensors/safetensors.ts";
import type { TrainEvent } from "./events.ts";
import { runTraining } from "./loop.ts";
import { readMetrics } from "./metrics.ts";
import { toyOptions, trainToEnd, useTemporaryFolders } from "./testing/helpers.ts";
import { createToyData, createToyModel } from "./testing/toy-model.ts";

const makeFolder = useTemporaryFolders();

describe("a run", () => {
  it("learns, and tells of it in order", async () => {
    const folder = await makeFolder();
    const { events, steps, evaluations, finished } = await trainToEnd(
      toyOptions(folder, { settings: { epochs: 10 } }),
    );
    expect(events[0]).toMatchObject({
      type: "run-started",
      totalSteps: 70,
      stepsPerEpoch: 7,
      trainableParameters: 143,
      changedSettings: [],
    });
    expect(steps.map(({ step }) => step)).toEqual(Array.from({ length: 70 }, (_, i) => i + 1));
    expect(steps.at(-1)!.epoch).toBe(10);
    expect(evaluations.map(({ step }) => step)).toEqual([0, 7, 14, 21, 28, 35, 42, 49, 56, 63, 70]);
    expect(evaluations[0]!.loss).toBeCloseTo(Math.log(11), 0);
    expect(finished).toMatchObject({ stoppedBecause: "completed", step: 70 });
    expect(finished.lossBefore).toBe(evaluations[0]!.loss);
    expect(finished.lossAfter).toBe(Math.min(...evaluations.slice(1).map(({ loss }) => loss)));
    expect(finished.lossAfter).toBeLessThan(0.7 * finished.lossBefore!);
  });

  it("gives every micro-batch a seed of its own, and follows the schedule", async () => {
    const model = createToyModel();
    const seeds: (number | undefined)[] = [];
    const watched = {
      ...model,
      accumulateGradients: (...[batch, options]: Parameters<typeof model.accumulateGradients>) => {
        seeds.push(options.seed);
        return model.accumulateGradients(batch, options);
      },
    };
    const settings = { epochs: 2, gradientAccumulation: 2, learningRate: 0.05, warmupSteps: 2 };
    const { steps } = await trainToEnd(
      toyOptions(await makeFolder(), { model: watched, settings }),
    );
    expect(seeds.length).toBe(14);
    expect(new Set(seeds).size).toBe(14);
    const factors = [0, 1 / 2, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6];
    expect(steps.length).toBe(8);
    for (const [i, step] of steps.entries())
      expect(step.learningRate).toBeCloseTo(0.05 * factors[i]!, 12);
  });

  it("keeps a second run out of its folder while it works there", async () => {
    const folder = await makeFolder();
    const settings = { epochs: 1, learningRate: 0.05 };
    let refusals = 0;
    for await (const event of runTraining(toyOptions(folder, { settings })))
      if (event.type === "step-finished" && event.step === 3)
        for (const how of [{}, { resume: true }, { overwrite: true }])
          await trainToEnd(toyOptions(folder, { settings, ...how })).catch((error: unknown) => {
            expect(String(error)).toContain("used by one process at a time");
            refusals++;
          });
    expect(refusals).toBe(3);
    expect((await metricsOf(folder)).length).toBe(9);
  });

  it("fills its folder with what its journal says", async () => {
    const folder = await makeFolder();
    const { steps, evaluations } = await trainToEnd(
      toyOptions(folder, {
        recipeText: "model: toy\n",
        card: { baseModel: "toys/eleven", kind: "adapter", method: "LoRA, rank 8" },
      }),
    );
    const names = "README.md adapter_config.json adapter_model.safetensors".split(" ");
    expect((await readdir(join(folder, "adapter"))).sort()).toEqual(names);
    expect(await readFile(join(folder, "recipe.yaml"), "utf8")).toBe("model: toy\n");
    expect(await readFile(join(folder, "loss.svg"), "utf8")).toContain("<polyline");
    const metrics = await readMetrics(join(folder, "metrics.jsonl"));
    expect(metrics.filter(({ type }) => type === "step-finished")).toEqual(
      JSON.parse(JSON.stringify(steps)),
    );
    expect(metrics.length).toBe(steps.length + evaluations.length);
    expect((await readdir(join(folder, "checkpoints"))).sort()).toEqual([
      "latest",
      "step-000007",
      "step-000014",
    ]);
  });

  it("takes as many small batches as one large one for the same step", async () => {
    const small = createToyData({ batches: 8, rows: 2 });
    const merged = {
      batchesPerEpoch: 1,
      async *epoch(index: number) {
        const inputIds: number[][] = [];
        const labels: number[][] = [];
        for await (const batch of small.epoch(index)) {
          inputIds.push(...batch.inputIds.map((row) => [...row]));
          labels.push(...batch.labels!.map((row) => [...row]));
        }
        yield { inputIds, labels };
      },
    };
    const model = () => {
      const toy = createToyModel();
      // Dropout would draw differently for the parts and the whole.
      return {
        ...toy,
        accumulateGradients: (...[batch, { scale }]: Parameters<typeof toy.accumulateGradients>) =>
          toy.accumulateGradients(batch, { scale }),
      };
    };
    const settings = { epochs: 3, learningRate: 0.05, keepBest: false };
    const parts = await trainToEnd(
      toyOptions(await makeFolder(), {
        model: model(),
        train: small,
        settings: { ...settings, gradientAccumulation: 8 },
      }),
    );
    const whole = await trainToEnd(
      toyOptions(await makeFolder(), { model: model(), train: merged, settings }),
    );
    expect(parts.steps.length).toBe(3);
    for (const [i, step] of parts.steps.entries()) {
      expect(step.loss).toBeCloseTo(whole.steps[i]!.loss, 5);
      expect(step.gradientNorm).toBeCloseTo(whole.steps[i]!.gradientNorm, 5);
      expect(step.targetTokens).toBe(whole.steps[i]!.targetTokens);
    }
  });

  it("ends with the best parameters, not the last, where it is to keep the best", async () => {
    const folder = await makeFolder();
    // A rate this high is sure to make some later evaluation worse.
    const options = toyOptions(folder, {
      settings: { epochs: 6, learningRate: 0.6, schedule: "constant", keepLast: 1 },
    });
    const { evaluations, finished } = await trainToEnd(options);
    const best = evaluations.slice(1).reduce((a, b) => (b.loss < a.loss ? b : a));
    expect(best.step).toBeLessThan(42);
    expect(finished).toMatchObject({ adapterStep: best.step, lossAfter: best.loss });
    expect((await readdir(join(folder, "checkpoints"))).sort()).toEqual(
      ["latest", `step-${String(best.step).padStart(6, "0")}`, "step-000042"].sort(),
    );
    let sum = 0;
    let count = 0;
    for await (const batch of options.evaluation!.epoch(0)) {
      const part = await options.model.evaluateLoss(batch);
      sum += part.lossSum;
      count += part.tokenCount;
    }
    expect(sum / count).toBe(best.loss);
    const file = await openSafetensors(join(finished.adapterFolder!, "adapter_model.safetensors"));
    const stored = new Float32Array(66);
    await file.readInto("head.weight", new Uint8Array(stored.buffer));
    await file.close();
    expect(stored).toEqual(options.model.parameters[1]!.data);
  });

  it("stops early when evaluations no longer get better", async () => {
    const { evaluations, finished } = await trainToEnd(
      toyOptions(await makeFolder(), {
        settings: {
          epochs: 50,
          learningRate: 0.6,
          schedule: "constant",
          evaluateEvery: 2,
          earlyStoppingPatience: 3,
        },
      }),
    );
    expect(finished.stoppedBecause).toBe("early-stopping");
    expect(evaluations.slice(-3).map(({ isBest }) => isBest)).toEqual([false, false, false]);
    expect(evaluations.at(-4)!.isBest).toBe(true);
    expect(finished.adapterStep).toBe(evaluations.at(-4)!.step);
  });

  it("trains on a stream whose length nobody knows", async () => {
    const options = toyOptions(await makeFolder(), { train: createToyData({ streamed: true }) });
    const settings = { learningRate: 0.05, gradientAccumulation: 2 };
    await expect(trainToEnd({ ...options, settings })).rejects.toThrow("streamed");
    const byEpochs = await trainToEnd({
      ...options,
      settings: { ...settings, epochs: 2, schedule: "constant" },
    });
    expect(byEpochs.steps.map(({ targetTokens }) => targetTokens > 0)).toEqual(Array(8).fill(true));
    const bySteps = await trainToEnd({
      ...options,
      overwrite: true,
      settings: { ...settings, maxSteps: 10 },
    });
    expect(bySteps.finished.step).toBe(10);
  });

  it("reports the first step, the last one and every so many", async () => {
    const { steps } = await trainToEnd(
      toyOptions(await makeFolder(), { settings: { epochs: 2, logEvery: 5 } }),
    );
    expect(steps.map(({ step }) => step)).toEqual([1, 5, 10, 14]);
  });

  it("needs no evaluation data", async () => {
    const options = toyOptions(await makeFolder(), { evaluation: undefined });
    const { finished, evaluations } = await trainToEnd(options);
    expect(evaluations).toEqual([]);
    expect(finished).toMatchObject({ adapterStep: 14, stoppedBecause: "completed" });
  });
});

describe("resuming", () => {
  const settings = { epochs: 3, learningRate: 0.05, gradientAccumulation: 2, keepBest: false };
  const losses = (events: readonly TrainEvent[]) =>
    events
      .filter((event) => event.type === "step-finished" || event.type === "evaluation-finished")
      .map(({ step, loss }) => [step, loss]);

  it.each([1, 2, 5, 8, 9])(
    "after an abort in micro-batch %i loses and changes nothing",
    async (at) => {
      const whole = await trainToEnd(toyOptions(await makeFolder(), { settings }));
      const folder = await makeFolder();
      const controller = new AbortController();
      const model = createToyModel();
      let calls = 0;
      const aborting = {
        ...model,
        accumulateGradients: (...values: Parameters<typeof model.accumulateGradients>) => {
          if (++calls === at) controller.abort();
          return model.accumulateGradients(...values);
        },
      };
      const first = await trainToEnd(
        toyOptions(folder, { settings, model: aborting, signal: controller.signal }),
      );
      expect(first.finished).toMatchObject({ stoppedBecause: "aborted" });
      expect(first.finished.howToGoOn).toContain("--resume");
      expect(calls).toBe(at);
      const second = await trainToEnd(toyOptions(folder, { settings, resume: true }));
      expect(second.events[0]).toMatchObject({ resumedFromStep: first.finished.step });
      expect([...losses(first.events), ...losses(second.events)]).toEqual(losses(whole.events));
      expect(losses(await metricsOf(folder))).toEqual(losses(whole.events));
    },
  );

  it("does an evaluation again that was aborted", async () => {
    const folder = await makeFolder();
    const controller = new AbortController();
    const model = createToyModel();
    let calls = 0;
    const aborting = {
      ...model,
      evaluateLoss: (...values: Parameters<typeof model.evaluateLoss>) => {
        // Two batches at step 0; the first one of the evaluation at step 4 is number 3.
        if (++calls === 3) controller.abort();
        return model.evaluateLoss(...values);
      },
    };
    const first = await trainToEnd(
      toyOptions(folder, { settings, model: aborting, signal: controller.signal }),
    );
    expect(first.finished).toMatchObject({ stoppedBecause: "aborted", step: 4 });
    const second = await trainToEnd(toyOptions(folder, { settings, resume: true }));
    expect(second.evaluations.map(({ step }) => step)).toEqual([4, 8, 12]);
  });

  it("is not completed by an aborted last evaluation, and does it when resumed", async () => {
    const folder = await makeFolder();
    const controller = new AbortController();
    const model = createToyModel();
    let calls = 0;
    const aborting = {
      ...model,
      evaluateLoss: (...values: Parameters<typeof model.evaluateLoss>) => {
        // Two batches at each of the steps 0, 4 and 8; the first one at step 12 is number 7.
        if (++calls === 7) controller.abort();
        return model.evaluateLoss(...values);
      },
    };
    const first = await trainToEnd(
      toyOptions(folder, { settings, model: aborting, signal: controller.signal }),
    );
    expect(first.finished).toMatchObject({ stoppedBecause: "aborted", step: 12 });
    const second = await trainToEnd(toyOptions(folder, { settings, resume: true }));
    expect(second.evaluations.map(({ step }) => step)).toEqual([12]);
    expect(second.finished).toMatchObject({ stoppedBecause: "completed", step: 12 });
  });

  it("begins at the beginning where nothing was saved", async () => {
    const { events } = await trainToEnd(toyOptions(await makeFolder(), { settings, resume: true }));
    expect(events[0]).not.toHaveProperty("resumedFromStep");
  });

  it("adds epochs to a finished run, and says which settings changed", async () => {
    const folder = await makeFolder();
    await trainToEnd(toyOptions(folder, { settings }));
    const again = await trainToEnd(toyOptions(folder, { settings, resume: true }));
    expect(again.steps).toEqual([]);
    expect(again.finished).toMatchObject({ stoppedBecause: "completed", step: 12 });
    const more = await trainToEnd(
      toyOptions(folder, { settings: { ...settings, epochs: 4 }, resume: true }),
    );
    expect(more.events[0]).toMatchObject({ changedSettings: ["epochs: 3 -> 4"] });
    expect(more.steps.map(({ step }) => step)).toEqual([13, 14, 15, 16]);
  });

  it("says what changed in the recipe besides", async () => {
    const folder = await makeFolder();
    await trainToEnd(toyOptions(folder, { settings, recipeText: "data: a\n" }));
    const again = toyOptions(folder, { settings, recipeText: "data: b\n", resume: true });
    const { events } = await trainToEnd(again);
    expect(events[0]).toMatchObject({ changedSettings: ['data: "a" -> "b"'] });
  });

  it("keeps the old recipe and the mark of a finished run where it is refused", async () => {
    const folder = await makeFolder();
    await trainToEnd(toyOptions(folder, { settings, recipeText: "data: a\n" }));
    const other = toyOptions(folder, {
      settings: { ...settings, optimizer: "sgd" },
      recipeText: "data: b\n",
      resume: true,
    });
    await expect(trainToEnd(other)).rejects.toThrow("the optimizer that it began with");
    expect(await readFile(join(folder, "recipe.yaml"), "utf8")).toBe("data: a\n");
    expect(await readdir(folder)).toContain("run.json");
  });

  it("refuses another optimizer and another model, and leaves the checkpoint alone", async () => {
    const folder = await makeFolder();
    await trainToEnd(toyOptions(folder, { settings }));
    const withSgd = toyOptions(folder, {
      settings: { ...settings, optimizer: "sgd" },
      resume: true,
    });
    await expect(trainToEnd(withSgd)).rejects.toThrow("the optimizer that it began with");
    const toy = createToyModel();
    const smaller = { ...toy, parameters: toy.parameters.slice(1) };
    const withOther = toyOptions(folder, { settings, model: smaller, resume: true });
    await expect(trainToEnd(withOther)).rejects.toThrow("the model and the method");
    const recipes = ["method: { name: lora }\n", "method: { name: ia3 }\n"];
    const named = await makeFolder();
    await trainToEnd(toyOptions(named, { settings, recipeText: recipes[0]! }));
    const withIa3 = { settings, model: smaller, resume: true, recipeText: recipes[1]! };
    await expect(trainToEnd(toyOptions(named, withIa3))).rejects.toThrow(
      'the run has method "lora", the recipe "ia3" (other tensors besides)',
    );
    await trainToEnd(toyOptions(folder, { settings, resume: true }));
  });

  it("names a damaged checkpoint and how to go back behind it", async () => {
    const folder = await makeFolder();
    await trainToEnd(toyOptions(folder, { settings }));
    const path = join(folder, "checkpoints", "step-000012", "state.json");
    await writeFile(path, '{ "format": 99 }');
    const options = toyOptions(folder, { settings, resume: true });
    await expect(trainToEnd(options)).rejects.toThrow(/format 99[\s\S]*delete .*step-000012/);
  });
});

async function metricsOf(folder: string) {
  return readMetrics(join(folder, "metrics.jsonl"));
}

describe("a run that goes wrong", () => {
  const settings = { epochs: 3, learningRate: 0.05, saveEvery: 2, evaluateEvery: "never" as const };

  /** A model whose `fail` is asked before every micro-batch. */
  function failingModel(fail: (call: number) => void) {
    const model = createToyModel();
    let calls = 0;
    return {
      ...model,
      async accumulateGradients(...values: Parameters<typeof model.accumulateGradients>) {
        fail(++calls);
        return model.accumulateGradients(...values);
      },
    };
  }

  async function failure(options: ReturnType<typeof toyOptions>): Promise<TunesmithError> {
    const error = await trainToEnd(options).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(TunesmithError);
    return error as TunesmithError;
  }

  it("stops at a loss that is not a number, before it spoils a parameter", async () => {
    const folder = await makeFolder();
    const model = createToyModel();
    let calls = 0;
    const broken = {
      ...model,
      async accumulateGradients(...values: Parameters<typeof model.accumulateGradients>) {
        const sum = await model.accumulateGradients(...values);
        return ++calls === 6 ? { ...sum, lossSum: Number.NaN } : sum;
      },
    };
    const error = await failure(toyOptions(folder, { model: broken, settings }));
    expect(error.message).toContain("in step 6: the loss must be a finite number");
    expect(error.message).toMatch(/NaN at learning rate 0\.03\d+/);
    expect(error.message).toContain(join(folder, "checkpoints", "step-000004"));
    for (const { data } of model.parameters) expect(data.every(Number.isFinite)).toBe(true);
    const resumed = await trainToEnd(toyOptions(folder, { settings, resume: true }));
    expect(resumed.steps[0]!.step).toBe(5);
  });

  it("stops at a gradient that is not finite", async () => {
    const model = createToyModel();
    const broken = failingModel(() => {});
    const infinite = {
      ...broken,
      parameters: model.parameters,
      async accumulateGradients(...values: Parameters<typeof model.accumulateGradients>) {
        const sum = await model.accumulateGradients(...values);
        model.parameters[0]!.gradient[3] = Number.POSITIVE_INFINITY;
        return sum;
      },
    };
    const error = await failure(toyOptions(await makeFolder(), { model: infinite, settings }));
    expect(error.message).toContain("in step 1: the gradient norm must be a finite number");
    expect(error.message).toContain("no checkpoint was saved");
  });

  it.each(["Failed to allocate memory for requested buffer of size 9", "std::bad_alloc"])(
    "says what to do when memory is used up (%s)",
    async (message) => {
      const folder = await makeFolder();
      const model = failingModel((call) => {
        if (call === 4) throw new Error(message);
      });
      const error = await failure(toyOptions(folder, { model, settings }));
      expect(error.code).toBe("run");
      expect(error.message).toContain("a step must fit into memory");
      expect(error.message).toContain("step-000002");
      const resumed = await trainToEnd(toyOptions(folder, { settings, resume: true }));
      expect(resumed.steps[0]!.step).toBe(3);
    },
  );

  it("keeps what the engine says of used-up memory, and adds what is safe", async () => {
    const folder = await makeFolder();
    const inner = { where: "running the model", rule: "must fit", seen: "no", fix: "use less" };
    const model = failingModel((call) => {
      const cause = new Error("std::bad_alloc");
      if (call === 4) throw new TunesmithError("run", inner, { cause });
    });
    const { faults } = await failure(toyOptions(folder, { model, settings }));
    const fix = expect.stringMatching(/^use less; the last good checkpoint is .*step-000002/);
    expect(faults).toEqual([{ ...inner, fix }]);
  });

  it("lets errors that it knows nothing about through", async () => {
    const model = failingModel(() => {
      throw new TypeError("a bug");
    });
    const run = trainToEnd(toyOptions(await makeFolder(), { model, settings }));
    await expect(run).rejects.toThrow(new TypeError("a bug"));
  });

  it("leaves the lock behind for nobody when its caller stops asking", async () => {
    const folder = await makeFolder();
    for await (const event of runTraining(toyOptions(folder, { settings })))
      if (event.type === "step-finished" && event.step === 5) break;
    const { steps } = await trainToEnd(toyOptions(folder, { settings, resume: true }));
    expect(steps[0]!.step).toBe(5);
  });
});
