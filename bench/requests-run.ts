// Times many requests of unequal lengths, put to a model side by side: as a batch that they join and leave,
// and as one batch after another, each until its last request is at its end. Prints one line of JSON.
//
//     node bench/requests-run.ts --dtype q4 --requests 32 --batch 8 --adapters 4

import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type EngineModel, openModel } from "../src/engine/load.ts";
import { MODEL_DTYPES } from "../src/engine/weights/model-dtype.ts";
import { createRequests, type GenerationRequest } from "../src/generate/index.ts";
import { flagsOrExit } from "./flags.ts";
import { MODEL_FOLDER } from "./paths.ts";
import { peakBytes } from "./process-facts.ts";
import { readCount } from "./workload.ts";

function readOptions() {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: MODEL_FOLDER },
      dtype: { type: "string", default: "float32" },
      rounds: { type: "string" },
      threads: { type: "string" },
      requests: { type: "string" },
      batch: { type: "string" },
      adapters: { type: "string" },
    },
  });
  const dtype = MODEL_DTYPES.find((one) => one === values.dtype);
  if (!dtype) throw new RangeError(`--dtype must be one of ${MODEL_DTYPES.join(", ")}`);
  return {
    model: values.model,
    dtype,
    rounds: readCount("rounds", values.rounds, 2),
    threads: readCount("threads", values.threads, availableParallelism()),
    requests: readCount("requests", values.requests, 32),
    batch: readCount("batch", values.batch, 8),
    adapters: values.adapters === undefined ? 0 : readCount("adapters", values.adapters, 0),
  };
}

/** Prompts of 8 to 120 tokens and replies of 8 to 96, in no order. */
function workload(count: number, vocabulary: number, adapters: readonly string[]) {
  return Array.from({ length: count }, (_, i): GenerationRequest => {
    const prompt = 8 + ((i * 37 + 11) % 113);
    return {
      inputIds: Array.from(
        { length: prompt },
        (_, t) => 17 + ((7919 * (t + i)) % (vocabulary - 17)),
      ),
      maxNewTokens: 8 + ((i * 53 + 29) % 89),
      ignoreEos: true,
      ...(adapters.length > 0 && { adapter: adapters[i % adapters.length]! }),
    };
  });
}

/** Seconds until all are answered. */
async function answer(
  model: EngineModel,
  asked: readonly GenerationRequest[],
  maxBatch: number,
  isContinuous: boolean,
): Promise<number> {
  const requests = createRequests({ model }, { maxBatch });
  const size = isContinuous ? asked.length : maxBatch;
  const began = performance.now();
  for (let start = 0; start < asked.length; start += size) {
    const together = asked.slice(start, start + size).map((request) => requests.submit(request));
    await Promise.all(together.map((reply) => reply.finished));
  }
  return (performance.now() - began) / 1000;
}

async function measure(options: ReturnType<typeof readOptions>): Promise<object> {
  const { dtype, threads, rounds, batch, requests } = options;
  const model = await openModel(options.model, { dtype, threads });
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-bench-"));
  try {
    const names = Array.from({ length: options.adapters }, (_, seed) => `a${seed}`);
    for (const [seed, name] of names.entries()) {
      const trained = await openModel(options.model, { method: { name: "lora", rank: 8 }, seed });
      await trained.saveAdapter(join(folder, name));
      await trained.dispose();
      await model.adapters.load(name, join(folder, name));
    }
    const asked = workload(requests, model.architecture.dimensions.vocabularySize, names);
    const tokens = asked.reduce((sum, { maxNewTokens }) => sum + maxNewTokens!, 0);
    // The first time compiles what all later ones run.
    const first = await answer(model, asked, batch, true);
    const best = {
      continuous: Number.POSITIVE_INFINITY,
      oneAfterAnother: Number.POSITIVE_INFINITY,
    };
    for (let round = 0; round < rounds; round++) {
      best.continuous = Math.min(best.continuous, await answer(model, asked, batch, true));
      best.oneAfterAnother = Math.min(
        best.oneAfterAnother,
        await answer(model, asked, batch, false),
      );
    }
    return {
      dtype,
      requests,
      batch,
      adapters: names.length,
      tokens,
      first_tokens_per_second: tokens / first,
      continuous_tokens_per_second: tokens / best.continuous,
      one_after_another_tokens_per_second: tokens / best.oneAfterAnother,
      peak_rss_bytes: peakBytes(),
    };
  } finally {
    await model.dispose();
    await rm(folder, { recursive: true });
  }
}

const options = flagsOrExit("node bench/requests-run.ts [flags]", readOptions);
console.log(JSON.stringify(await measure(options)));
