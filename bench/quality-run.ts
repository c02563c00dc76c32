// One method on the quickstart's task: trains it, or lets a peer train its own, and examines what
// came out. Prints one line of JSON; one process is one run.
//
//     node bench/quality-run.ts --write-batches FOLDER --steps 200    # first
//     node bench/quality-run.ts --method '{"name":"lora"}' --batches FOLDER --learning-rate 0.003 --steps 200
//     node bench/quality-run.ts --peer '{"config":"LoraConfig"}' --batches FOLDER --learning-rate 0.003 --steps 200

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { LoadedRecipe } from "../src/recipe/load.ts";
import { train } from "../src/recipe/train.ts";
import { packageVersions } from "../src/recipe/versions.ts";
import { isFailure, runMeasurement } from "./child.ts";
import { flagsOrExit } from "./flags.ts";
import { PEERS_FOLDER, PYTHON } from "./paths.ts";
import {
  type Examination,
  examine,
  stepsFile,
  type Trained,
  taskRecipe,
  writeBatches,
} from "./quality-task.ts";
import { readCount } from "./workload.ts";

/** What a run prints. */
export interface QualityReport extends Examination, TrainingFacts {
  /** Peak of the schedule. */
  readonly learning_rate: number;
}

/** What bench/peers/peft-quality.py prints. */
interface TrainingFacts {
  /** Of training alone. */
  readonly seconds: number;
  readonly trainable_parameters: number;
  readonly versions: Readonly<Record<string, string>>;
}

const flags = flagsOrExit("node bench/quality-run.ts [flags], one run of bench/quality.ts", () => {
  const { values } = parseArgs({
    options: {
      method: { type: "string" },
      peer: { type: "string" },
      python: { type: "string", default: PYTHON },
      batches: { type: "string", default: "" },
      "learning-rate": { type: "string", default: "0.001" },
      seed: { type: "string", default: "0" },
      steps: { type: "string" },
      threads: { type: "string" },
      "loss-only": { type: "boolean", default: false },
      "write-batches": { type: "string" },
    },
  });
  return {
    ...values,
    steps: readCount("steps", values.steps, 200),
    threads: readCount("threads", values.threads, 2),
  };
});

async function trainOurs(recipe: LoadedRecipe): Promise<Trained & TrainingFacts> {
  let [seconds, previous, trainable] = [0, performance.now(), 0];
  let trained: Trained = {};
  for await (const event of train(recipe)) {
    const now = performance.now();
    if (event.type === "run-started") trainable = event.trainableParameters;
    if (event.type === "step-finished") seconds += (now - previous) / 1000;
    if (event.type === "run-finished")
      trained = { [event.kind === "model" ? "model" : "adapter"]: event.adapterFolder };
    previous = performance.now();
  }
  return { ...trained, seconds, trainable_parameters: trainable, versions: packageVersions() };
}

async function trainPeer(recipe: LoadedRecipe, adapter: string): Promise<Trained & TrainingFacts> {
  const threads = String(flags.threads);
  const facts = await runMeasurement<TrainingFacts>({
    program: flags.python,
    args: [
      join(PEERS_FOLDER, "peft-quality.py"),
      ...["--method", flags.peer!, "--batches", stepsFile(flags.batches, Number(flags.seed))],
      ...["--model", recipe.recipe.model.path!, "--out", adapter],
      ...["--learning-rate", flags["learning-rate"], "--seed", flags.seed, "--threads", threads],
    ],
    environment: { OMP_NUM_THREADS: threads },
  });
  if (isFailure(facts)) throw new Error(facts.failed);
  return { ...facts, adapter };
}

const scratch = await mkdtemp(join(tmpdir(), "tunesmith-quality-"));
try {
  const recipe = await taskRecipe({
    seed: Number(flags.seed),
    steps: flags.steps,
    threads: flags.threads,
    learningRate: Number(flags["learning-rate"]),
    output: join(scratch, "run"),
    ...(flags.method === undefined ? {} : { method: JSON.parse(flags.method) as unknown }),
  });
  if (flags["write-batches"] !== undefined) {
    await writeBatches(recipe, flags["write-batches"]);
    console.log("{}");
  } else {
    const { adapter, model, ...facts } = await (flags.peer === undefined
      ? trainOurs(recipe)
      : trainPeer(recipe, join(scratch, "adapter")));
    const options = { batches: flags.batches, lossOnly: flags["loss-only"] };
    const report: QualityReport = {
      ...facts,
      learning_rate: Number(flags["learning-rate"]),
      ...(await examine(recipe, { adapter, model }, options)),
    };
    console.log(JSON.stringify(report));
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
