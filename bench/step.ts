// Times training steps of tunesmith in float32 (LoRA, if no other method is named); one process is one measurement. Prints one line
// of JSON of the same shape as bench/peers/peft-step.py.
//
//     node bench/step.ts --memory fast --batch 4 --length 256
//
// A step is: forward, loss, backward, gradient clipping, AdamW. Warm-up steps come first and are left
// out of the median; `seconds_to_first_step` counts from the start of the process to the end of the
// very first one.

import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Batch, countTargets } from "../src/engine/batch.ts";
import { openModel } from "../src/engine/load.ts";
import { ARITHMETICS, type Arithmetic } from "../src/engine/weights/integer-operands.ts";
import type { MethodOptions } from "../src/methods/index.ts";
import { clipGradients, createOptimizer, zeroGradients } from "../src/runtime/optimizer.ts";
import { flagsOrExit } from "./flags.ts";
import { MODEL_FOLDER } from "./paths.ts";
import { ortVersion, peakBytes, startedAt } from "./process-facts.ts";
import { withDepth } from "./shallow-model.ts";
import { median } from "./statistics.ts";
import { makeBatch, readCount, readWorkload, WORKLOAD_FLAGS, type Workload } from "./workload.ts";

interface StepOptions {
  /** Without it LoRA of the workload's rank. */
  readonly method?: MethodOptions;
  readonly workload: Workload;
  readonly memory: "fast" | "lean";
  readonly arithmetic: Arithmetic;
  readonly model: string;
  readonly steps: number;
  readonly warmup: number;
  readonly threads: number;
}

function readOptions(): StepOptions {
  const { values } = parseArgs({
    options: {
      ...WORKLOAD_FLAGS,
      memory: { type: "string", default: "fast" },
      arithmetic: { type: "string", default: "float32" },
      method: { type: "string" },
      model: { type: "string", default: MODEL_FOLDER },
      steps: { type: "string" },
      warmup: { type: "string" },
      threads: { type: "string" },
    },
  });
  const { memory, model } = values;
  const arithmetic = ARITHMETICS.find((one) => one === values.arithmetic);
  if (!arithmetic) throw new RangeError(`--arithmetic must be one of ${ARITHMETICS.join(", ")}`);
  if (memory !== "fast" && memory !== "lean")
    throw new RangeError(`--memory must be fast or lean, not "${memory}"`);
  return {
    workload: readWorkload(values),
    ...(values.method === undefined ? {} : { method: JSON.parse(values.method) as MethodOptions }),
    memory,
    arithmetic,
    model,
    steps: readCount("steps", values.steps, 5),
    warmup: readCount("warmup", values.warmup, 2),
    threads: readCount("threads", values.threads, availableParallelism()),
  };
}

/** Steps that a method's own schedule is told of; far fewer are measured. */
const SCHEDULED_STEPS = 1000;

/** Bytes of the files that saving writes. */
async function savedBytes(save: (folder: string) => Promise<void>): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-bench-"));
  try {
    await save(folder);
    const names = await readdir(folder);
    const sizes = await Promise.all(names.map((name) => stat(join(folder, name))));
    return sizes.reduce((sum, { size }) => sum + size, 0);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function measure(options: StepOptions) {
  const { workload, memory, arithmetic, model: path, steps, warmup, threads } = options;
  const { rank, batch: rows, length } = workload;
  const lora: MethodOptions = { name: "lora", rank, alpha: 16, targets: ["q_proj", "v_proj"] };
  const model = await openModel(path, {
    method: options.method ?? lora,
    memory,
    arithmetic,
    threads,
  });
  const { layers, vocabularySize } = model.architecture.dimensions;
  const batch = makeBatch(workload, vocabularySize);
  const isPartial = workload.trainableFraction < 1;
  const wholeLoss = makeBatch({ ...workload, trainableFraction: 1 }, vocabularySize);
  const optimizer = createOptimizer(model.parameters, { name: "adamw", weightDecay: 0.01 });
  model.schedule?.begin(SCHEDULED_STEPS);
  const seconds: number[] = [];
  const losses: number[] = [];
  let first: number | undefined;
  const run = async (batch: Batch, step: number) => {
    const targets = countTargets(batch.labels!);
    const began = performance.now();
    zeroGradients(model.parameters);
    const { lossSum } = await model.accumulateGradients(batch, { scale: 1 / targets });
    clipGradients(model.parameters, 1);
    optimizer.step(2e-4);
    model.schedule?.afterStep(step, 1);
    return { loss: lossSum / targets, seconds: (performance.now() - began) / 1000 };
  };
  const wholeSeconds: number[] = [];
  for (let step = 0; step < warmup + steps; step++) {
    const { loss, seconds: taken } = await run(batch, step);
    losses.push(loss);
    seconds.push(taken);
    first ??= (Date.now() - startedAt()) / 1000;
    // Steps with the loss everywhere in between: a drift of the machine meets both alike.
    if (isPartial) wholeSeconds.push((await run(wholeLoss, step)).seconds);
  }
  const peak = peakBytes();
  const trainable = model.parameters.reduce((sum, { data }) => sum + data.length, 0);
  const fileBytes = await savedBytes((folder) => model.saveAdapter(folder));
  await model.dispose();
  const measured = seconds.slice(warmup);
  return {
    peer: `tunesmith-${memory}`,
    arithmetic,
    tokens_per_second: (rows * length) / median(measured),
    steps: measured,
    warmup_steps: seconds.slice(0, warmup),
    seconds_to_first_step: first,
    peak_rss_bytes: peak,
    trainable_parameters: trainable,
    file_bytes: fileBytes,
    loss: losses.at(-1),
    losses,
    batch: rows,
    length,
    rank,
    depth: layers,
    trainable_fraction: workload.trainableFraction,
    ...(isPartial && {
      saved_by_fraction:
        1 - median(seconds.slice(warmup).map((taken, i) => taken / wholeSeconds[warmup + i]!)),
    }),
    threads,
    versions: { node: process.versions.node, "onnxruntime-node": ortVersion() },
  };
}

const options = flagsOrExit(
  "node bench/step.ts [flags], one measurement of bench/speed.ts",
  readOptions,
);
const line = await withDepth(options.model, options.workload.depth, (model) =>
  measure({ ...options, model }),
);
console.log(JSON.stringify(line));
