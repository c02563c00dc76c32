// Times generation of tunesmith; one process is one measurement. Prints one line of JSON of the same
// shape as bench/peers/transformers-generate.py and bench/peers/llama-cpp-generate.mjs.
//
//     node bench/generate-run.ts --dtype q4
//
// Reading is a prompt of 512 tokens; writing is 64 tokens behind a prompt of 16, for one sequence and for
// eight at once; the best of the rounds in the process. With `--adapters`, eight sequences are written
// with one adapter on all and with one of its own on each, in turn.

import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  createDecoder,
  type DecodableModel,
  type ModelOfRows,
} from "../src/engine/decoding/decoder.ts";
import { type EngineModel, openModel } from "../src/engine/load.ts";
import { MODEL_DTYPES } from "../src/engine/weights/model-dtype.ts";
import { flagsOrExit } from "./flags.ts";
import type { GenerationReport } from "./generation-report.ts";
import { GENERATION } from "./generation-report.ts";
import { MODEL_FOLDER } from "./paths.ts";
import { ortVersion, peakBytes, startedAt } from "./process-facts.ts";
import { readCount } from "./workload.ts";

function readOptions() {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: MODEL_FOLDER },
      dtype: { type: "string", default: "float32" },
      rounds: { type: "string" },
      threads: { type: "string" },
      adapters: { type: "boolean", default: false },
    },
  });
  const dtype = MODEL_DTYPES.find((one) => one === values.dtype);
  if (!dtype) throw new RangeError(`--dtype must be one of ${MODEL_DTYPES.join(", ")}`);
  return {
    model: values.model,
    dtype,
    adapters: values.adapters,
    rounds: readCount("rounds", values.rounds, 3),
    threads: readCount("threads", values.threads, availableParallelism()),
  };
}

const { prompt, shortPrompt, written, sequences } = GENERATION;
const tokens = (count: number, vocabulary: number) =>
  Array.from({ length: count }, (_, i) => 17 + ((7919 * i) % (vocabulary - 17)));

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

/** Seconds of so many greedy tokens for each of `batch` sequences, behind a short prompt. */
async function write(
  model: DecodableModel,
  batch: number,
  count: number,
  modelOf?: ModelOfRows,
): Promise<number> {
  const { vocabularySize } = model.architecture.dimensions;
  const decoder = createDecoder(model, { batch, modelOf });
  const start = tokens(shortPrompt, vocabularySize);
  let logits = await decoder.append(new Array(batch).fill(start));
  const step = async () => {
    logits = await decoder.append(logits.map((row) => [likeliest(row!)]));
  };
  await step(); // compiles what one token takes
  const began = performance.now();
  for (let i = 0; i < count; i++) await step();
  return (performance.now() - began) / 1000;
}

async function read(model: DecodableModel): Promise<number> {
  const { vocabularySize } = model.architecture.dimensions;
  const decoder = createDecoder(model);
  const began = performance.now();
  await decoder.append([tokens(prompt, vocabularySize)]);
  return (performance.now() - began) / 1000;
}

/** Seconds of eight sequences with one adapter for all, and with eight adapters; the best of the rounds. */
async function writeAdapted(model: EngineModel, path: string, rounds: number) {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-bench-"));
  try {
    const names = Array.from({ length: sequences }, (_, seed) => `a${seed}`);
    for (const [seed, name] of names.entries()) {
      const trained = await openModel(path, { method: { name: "lora", rank: 8 }, seed });
      await trained.saveAdapter(join(folder, name));
      await trained.dispose();
      await model.adapters.load(name, join(folder, name));
    }
    const one = await model.adapters.select(names[0]!, sequences);
    const ofEach: ModelOfRows = (rows) =>
      model.adapters.select(
        rows.map((row) => names[row ?? 0]!),
        rows.length,
      );
    const seconds = { one: Number.POSITIVE_INFINITY, each: Number.POSITIVE_INFINITY };
    for (let round = 0; round < rounds; round++) {
      seconds.one = Math.min(seconds.one, await write(one, sequences, written));
      seconds.each = Math.min(seconds.each, await write(model, sequences, written, ofEach));
    }
    return seconds;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function measure(options: ReturnType<typeof readOptions>): Promise<GenerationReport> {
  const { dtype, rounds, threads, adapters } = options;
  const model = await openModel(options.model, { dtype, threads });
  const best = { read: 0, one: 0, all: 0 };
  await write(model, 1, 0);
  const first = (Date.now() - startedAt()) / 1000;
  for (let round = 0; round < rounds; round++) {
    best.read = Math.max(best.read, prompt / (await read(model)));
    best.one = Math.max(best.one, written / (await write(model, 1, written)));
    best.all = Math.max(best.all, (sequences * written) / (await write(model, sequences, written)));
  }
  const peak = peakBytes();
  const adapted = adapters ? await writeAdapted(model, options.model, rounds) : undefined;
  await model.dispose();
  return {
    peer: `tunesmith-${dtype}`,
    read_tokens_per_second: best.read,
    write_tokens_per_second: best.one,
    write_all_tokens_per_second: best.all,
    seconds_to_first_token: first,
    peak_rss_bytes: peak,
    ...(adapted && { adapters_ratio: adapted.each / adapted.one }),
    versions: { node: process.versions.node, "onnxruntime-node": ortVersion() },
  };
}

const options = flagsOrExit(
  "node bench/generate-run.ts [flags], one measurement of bench/generation.ts",
  readOptions,
);
console.log(JSON.stringify(await measure(options)));
