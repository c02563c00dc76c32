// Small things that the tests of the loop share.

import { access, constants, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { EvaluationFinished, RunFinished, StepFinished, TrainEvent } from "../events.ts";
import { runTraining, type TrainingOptions } from "../loop.ts";
import { createToyData, createToyModel } from "./toy-model.ts";

/** A new folder, in memory where the system offers that: flushing to a disk takes most of a test. */
export async function makeTemporaryFolder(): Promise<string> {
  const memory = "/dev/shm";
  const inMemory = await access(memory, constants.W_OK).then(
    () => true,
    () => false,
  );
  return mkdtemp(join(inMemory ? memory : tmpdir(), "tunesmith-train-"));
}

/** A function that makes folders which are removed after each test. */
export function useTemporaryFolders(): () => Promise<string> {
  const folders: string[] = [];
  afterEach(async () => {
    for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
  });
  return async () => {
    const folder = await makeTemporaryFolder();
    folders.push(folder);
    return folder;
  };
}

/** Options of a short toy run: 7 batches, evaluated on 2 others; any of them replaced by `given`. */
export function toyOptions(
  runFolder: string,
  { settings, ...given }: Partial<TrainingOptions> = {},
): TrainingOptions {
  return {
    model: createToyModel(),
    train: createToyData(),
    evaluation: createToyData({ batches: 2, seed: 99 }),
    settings: { epochs: 2, learningRate: 0.05, ...settings },
    runFolder,
    ...given,
  };
}

export interface TrainedRun {
  readonly events: readonly TrainEvent[];
  readonly steps: readonly StepFinished[];
  readonly evaluations: readonly EvaluationFinished[];
  readonly finished: RunFinished;
}

/** Runs a training to its end and sorts its events. */
export async function trainToEnd(options: TrainingOptions): Promise<TrainedRun> {
  const events: TrainEvent[] = [];
  for await (const event of runTraining(options)) events.push(event);
  return {
    events,
    steps: events.filter((event) => event.type === "step-finished"),
    evaluations: events.filter((event) => event.type === "evaluation-finished"),
    finished: events.at(-1) as RunFinished,
  };
}
