// The task that bench/quality.ts gives to every method: the quickstart's. Its recipe, the batches of
// its steps as a peer reads them, and the examination of what was trained, ours or a peer's.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { BatchSource } from "../src/data/batch-source.ts";
import type { Batch } from "../src/engine/batch.ts";
import { openModel } from "../src/engine/load.ts";
import { generate } from "../src/generate/index.ts";
import { type ChatMessage, encodeChat, writeFileAtomically } from "../src/hub/index.ts";
import { openRecipeData } from "../src/recipe/data.ts";
import { type LoadedRecipe, loadRecipe } from "../src/recipe/load.ts";
import { prepare } from "../src/recipe/prepare.ts";
import { trainingSettings } from "../src/recipe/settings.ts";
import { createSchedule } from "../src/runtime/schedule.ts";
import { readGroups } from "../src/train/batch-groups.ts";
import { evaluate } from "../src/train/index.ts";
import { completeSettings, planSteps } from "../src/train/settings.ts";

const TASK = join(import.meta.dirname, "..", "assets", "quickstart");
/** No right answer is as long. */
const LONGEST_ANSWER = 48;

/** What the quickstart's recipe is changed by. */
export interface TaskOptions {
  readonly seed: number;
  readonly steps: number;
  readonly threads: number;
  readonly learningRate: number;
  readonly output: string;
  readonly method?: unknown;
}

/** The recipe; weights are float32 as a peer has them, and nothing is measured or saved before the end. */
export function taskRecipe(options: TaskOptions): Promise<LoadedRecipe> {
  const { seed, steps, threads, learningRate, output, method } = options;
  const changes: Readonly<Record<string, unknown>> = {
    "model.dtype": "float32",
    "train.seed": seed,
    "train.maxSteps": steps,
    "train.learningRate": learningRate,
    "train.evaluateEvery": "never",
    "train.saveEvery": "never",
    "compute.threads": threads,
    output,
    ...(method === undefined ? {} : { method }),
  };
  return loadRecipe(join(TASK, "recipe.yaml"), {
    overrides: Object.entries(changes).map(([key, value]) => ({
      flag: `--${key}`,
      path: key.split("."),
      value,
    })),
  });
}

/** Batches that are written once and read by every run, and by the peer. */
const heldOutFile = (folder: string): string => join(folder, "held-out.jsonl");
export const stepsFile = (folder: string, seed: number): string =>
  join(folder, `steps-${seed}.jsonl`);

/**
 * Writes the recipe's batches: those of its steps, one step a line of JSON with its share of the peak
 * learning rate, and those that are held out, which are the same for every seed.
 */
export async function writeBatches(recipe: LoadedRecipe, folder: string): Promise<void> {
  const prepared = await prepare(recipe);
  await prepared.checkpoint.close();
  const { train, evaluation } = await openRecipeData(prepared);
  const settings = completeSettings(trainingSettings(prepared.recipe), true);
  const { totalSteps } = planSteps(settings, train.batchesPerEpoch);
  const share = createSchedule({ ...settings, name: settings.schedule, totalSteps: totalSteps! });
  const groups = readGroups(train, settings.gradientAccumulation, { epoch: 0, batch: 0 });
  const steps: object[] = [];
  for (let step = 0; step < totalSteps!; step++) {
    const { batches } = (await groups.next()).value!;
    steps.push({ share: share(step), batches });
  }
  await groups.return(undefined as never);
  await writeLines(stepsFile(folder, settings.seed), steps);
  const heldOut: Batch[] = [];
  for await (const batch of evaluation!.epoch(0)) heldOut.push(batch);
  await writeLines(heldOutFile(folder), heldOut);
}

const writeLines = (file: string, values: readonly object[]): Promise<void> =>
  writeFileAtomically(file, `${values.map((value) => JSON.stringify(value)).join("\n")}\n`);

async function readLines<T>(file: string): Promise<T[]> {
  const lines = (await readFile(file, "utf8")).trim().split("\n");
  return lines.map((line) => JSON.parse(line) as T);
}

/** The held-out batches of a folder, as `evaluate` takes them. */
async function readHeldOut(folder: string): Promise<BatchSource> {
  const batches = await readLines<Batch>(heldOutFile(folder));
  return {
    batchesPerEpoch: batches.length,
    async *epoch() {
      yield* batches;
    },
  };
}

/** What was trained: an adapter over the task's model, or a model in its place. */
export interface Trained {
  readonly adapter?: string;
  readonly model?: string;
}

export interface Examination {
  /** Mean over the answers of samples that the recipe holds out of its training data. */
  readonly held_out_loss: number;
  /** Share of the messages of test.jsonl that are answered right to the letter. */
  readonly exact_match?: number;
}

export interface ExaminationOptions {
  /** Where `writeBatches` wrote. */
  readonly batches: string;
  /** Asks no questions: a choice by this loss has not seen the test. */
  readonly lossOnly: boolean;
}

/** Examines what was trained. */
export async function examine(
  recipe: LoadedRecipe,
  { adapter, model }: Trained,
  { batches, lossOnly }: ExaminationOptions,
): Promise<Examination> {
  const prepared = await prepare(recipe);
  await prepared.checkpoint.close();
  const { threads } = prepared.recipe.compute;
  const opened = await openModel(model ?? prepared.modelPath, {
    adapter,
    threads,
    dtype: "float32",
  });
  try {
    const { loss } = (await evaluate(opened, await readHeldOut(batches)))!;
    if (lossOnly) return { held_out_loss: loss };
    const questions = await readQuestions();
    const { tokenIds } = await generate(opened, {
      inputIds: questions.map(
        (messages) =>
          encodeChat(prepared.tokenizer, messages.slice(0, -1), { addGenerationPrompt: true })
            .inputIds,
      ),
      maxNewTokens: LONGEST_ANSWER,
      temperature: 0,
    });
    const right = tokenIds.filter((ids, i) => {
      const answer = prepared.tokenizer.decode(ids, { skipSpecialTokens: true });
      return answer.trim() === questions[i]!.at(-1)!.content;
    });
    return { held_out_loss: loss, exact_match: right.length / questions.length };
  } finally {
    await opened.dispose();
  }
}

async function readQuestions(): Promise<ChatMessage[][]> {
  const samples = await readLines<{ messages: ChatMessage[] }>(join(TASK, "test.jsonl"));
  return samples.map(({ messages }) => messages);
}
