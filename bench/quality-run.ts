// One method on the quickstart's task: trains it, or takes an adapter that a peer trained, and
// examines it on the held-out messages. Prints one line of JSON; one process is one run.
//
//     node bench/quality-run.ts --method '{"name":"lora"}' --learning-rate 0.003 --seed 0
//     node bench/quality-run.ts --adapter FOLDER
//     node bench/quality-run.ts --write-batches FILE --learning-rate 0.003    # what a peer trains on

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { loadModel } from "../src/api/index.ts";
import { openModel } from "../src/engine/load.ts";
import { type ChatMessage, encodeChat } from "../src/hub/index.ts";
import { openRecipeData } from "../src/recipe/data.ts";
import { loadRecipe } from "../src/recipe/load.ts";
import { prepare } from "../src/recipe/prepare.ts";
import { trainingSettings } from "../src/recipe/settings.ts";
import { train } from "../src/recipe/train.ts";
import { createSchedule } from "../src/runtime/schedule.ts";
import { readGroups } from "../src/train/batch-groups.ts";
import { completeSettings, planSteps } from "../src/train/settings.ts";

const TASK = join(import.meta.dirname, "..", "assets", "quickstart");
const LONGEST_ANSWER = 64;

/** What a run prints. */
export interface QualityReport {
  /** Share of held-out messages answered right to the letter. */
  readonly exact_match: number;
  /** Mean over the held-out samples' answers. */
  readonly held_out_loss: number;
  /** Of training alone; absent for an adapter that was trained elsewhere. */
  readonly seconds?: number;
  readonly trainable_parameters: number;
}

const { values } = parseArgs({
  options: {
    method: { type: "string" },
    "learning-rate": { type: "string" },
    seed: { type: "string", default: "0" },
    steps: { type: "string" },
    adapter: { type: "string" },
    "write-batches": { type: "string" },
  },
});

const scratch = await mkdtemp(join(tmpdir(), "tunesmith-quality-"));
const recipe = await loadRecipe(join(TASK, "recipe.yaml"), {
  overrides: [
    { flag: "--train.seed", path: ["train", "seed"], value: Number(values.seed) },
    { flag: "--output", path: ["output"], value: join(scratch, "run") },
    ...(values.steps === undefined
      ? []
      : [{ flag: "--train.maxSteps", path: ["train", "maxSteps"], value: Number(values.steps) }]),
    ...(values["learning-rate"] === undefined
      ? []
      : [
          {
            flag: "--train.learningRate",
            path: ["train", "learningRate"],
            value: Number(values["learning-rate"]),
          },
        ]),
    ...(values.method === undefined
      ? []
      : [{ flag: "--method", path: ["method"], value: JSON.parse(values.method) as unknown }]),
  ],
});
const modelFolder = recipe.recipe.model.path!;

/** The batches of all steps with their learning rates, as lines of JSON. */
async function writeBatches(file: string): Promise<void> {
  const prepared = await prepare(recipe);
  await prepared.checkpoint.close();
  const data = await openRecipeData(prepared, {});
  const settings = completeSettings(trainingSettings(prepared.recipe), true);
  const { totalSteps } = planSteps(settings, data.train.batchesPerEpoch);
  const rate = createSchedule({ ...settings, name: settings.schedule, totalSteps: totalSteps! });
  const groups = readGroups(data.train, settings.gradientAccumulation, { epoch: 0, batch: 0 });
  const lines: string[] = [];
  for (let step = 0; step < totalSteps!; step++) {
    const { value } = await groups.next();
    const learningRate = settings.learningRate * rate(step);
    lines.push(JSON.stringify({ learningRate, batches: (value as { batches: unknown }).batches }));
  }
  await writeFile(file, `${lines.join("\n")}\n`);
}

/** The mean loss over the held-out samples, and the share of right answers. */
async function examine(adapter: string | undefined, model: string) {
  const prepared = await prepare(recipe);
  await prepared.checkpoint.close();
  const { evaluation } = await openRecipeData(prepared, {});
  const opened = await openModel(model, { adapter });
  let [loss, count] = [0, 0];
  for await (const batch of evaluation!.epoch(0)) {
    const part = await opened.evaluateLoss(batch);
    loss += part.lossSum;
    count += part.tokenCount;
  }
  await opened.dispose();

  const lines = (await readFile(join(TASK, "test.jsonl"), "utf8")).trim().split("\n");
  const questions = lines.map((line) => (JSON.parse(line) as { messages: ChatMessage[] }).messages);
  await using loaded = await loadModel(model, { adapter, trainable: false });
  const tokenizer = await loaded.loadTokenizer();
  const { tokenIds } = await loaded.generate({
    inputIds: questions.map(
      (messages) =>
        encodeChat(tokenizer, messages.slice(0, -1), { addGenerationPrompt: true }).inputIds,
    ),
    maxNewTokens: LONGEST_ANSWER,
    temperature: 0,
  });
  const right = tokenIds.filter(
    (ids, i) =>
      tokenizer.decode(ids, { skipSpecialTokens: true }).trim() === questions[i]!.at(-1)!.content,
  );
  return { exact_match: right.length / questions.length, held_out_loss: loss / count };
}

async function run(): Promise<QualityReport> {
  if (values.adapter !== undefined)
    return { ...(await examine(values.adapter, modelFolder)), trainable_parameters: 0 };
  let seconds = 0;
  let result: string | undefined;
  let previous = performance.now();
  for await (const event of train(recipe)) {
    const now = performance.now();
    if (event.type === "step-finished") seconds += (now - previous) / 1000;
    if (event.type === "run-finished") result = event.adapterFolder;
    previous = performance.now();
  }
  const { method } = recipe.recipe;
  const opened = await openModel(modelFolder, { method });
  const trainable = opened.parameters.reduce((sum, { data }) => sum + data.length, 0);
  const isModel = opened.method!.saved === "checkpoint";
  await opened.dispose();
  const exam = await examine(isModel ? undefined : result, isModel ? result! : modelFolder);
  return { ...exam, seconds, trainable_parameters: trainable };
}

try {
  const batches = values["write-batches"];
  if (batches !== undefined) await writeBatches(batches);
  else console.log(JSON.stringify(await run()));
} finally {
  await rm(scratch, { recursive: true, force: true });
}
