// Times whole tokens of an answer with and without a form, by a model: the same number of greedy tokens behind
// the same prompt, in turn. Prints one line of JSON, which docs/decisions/0009-answers-of-a-form.md quotes.
//
//     node bench/form-steps-run.ts --dtype q4
//
// "new" prepares the form in every round, so that every mask is made; "known" is the same format object again,
// whose masks are there. Of each token the fastest round counts, since others use the machine as well.

import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { openModel } from "../src/engine/load.ts";
import { MODEL_DTYPES } from "../src/engine/weights/model-dtype.ts";
import { createTextStream, type ResponseFormat } from "../src/generate/index.ts";
import { openCheckpoint } from "../src/hub/index.ts";
import { flagsOrExit } from "./flags.ts";
import { MODEL_FOLDER } from "./paths.ts";
import { mean } from "./statistics.ts";
import { readCount } from "./workload.ts";

const TOKENS = 96;
const PROMPT = "Write a long letter, as JSON with to and text.";

/** Long enough that no answer is at its end after so many tokens. */
const letter = (bounds: object): (() => ResponseFormat) => {
  const properties = {
    to: { type: "string", maxLength: 20 },
    text: { type: "string", minLength: 2000, ...bounds },
  };
  const schema = { type: "object", properties, required: ["to", "text"] };
  return () => ({ type: "json_schema", schema });
};
const FORMS = {
  "a string without end": letter({}),
  "a bounded string": letter({ maxLength: 3000 }),
};

function readOptions() {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: MODEL_FOLDER },
      dtype: { type: "string", default: "q4" },
      rounds: { type: "string" },
      threads: { type: "string" },
    },
  });
  const dtype = MODEL_DTYPES.find((one) => one === values.dtype);
  if (!dtype) throw new RangeError(`--dtype must be one of ${MODEL_DTYPES.join(", ")}`);
  return {
    model: values.model,
    dtype,
    rounds: readCount("rounds", values.rounds, 4),
    threads: readCount("threads", values.threads, availableParallelism()),
  };
}

async function measure({ model: path, dtype, rounds, threads }: ReturnType<typeof readOptions>) {
  const checkpoint = await openCheckpoint(path);
  const tokenizer = await checkpoint.loadTokenizer();
  await checkpoint.close();
  const model = await openModel(path, { dtype, threads });
  const prompt = tokenizer.encode(PROMPT);
  const best = new Map<string, number[]>();
  /** Milliseconds of each token but the first, before which the prompt is read. */
  const time = async (name: string, responseFormat: ResponseFormat): Promise<void> => {
    const options = { maxNewTokens: TOKENS, ignoreEos: true, responseFormat };
    const pieces = createTextStream(model, tokenizer).continue(prompt, options);
    await pieces.next();
    const times: number[] = [];
    for (let began = performance.now(); !(await pieces.next()).done; began = performance.now())
      times.push(performance.now() - began);
    if (times.length !== TOKENS - 1) throw new Error(`${name}: the answer ended by itself`);
    const before = best.get(name);
    best.set(name, before ? times.map((each, i) => Math.min(each, before[i]!)) : times);
  };
  try {
    const known = Object.entries(FORMS).map(([name, form]) => [name, form()] as const);
    for (let round = 0; round <= rounds; round++) {
      // The first round compiles, prepares the vocabulary and meets all states.
      if (round === 1) best.clear();
      await time("none", { type: "text" });
      for (const [name, form] of Object.entries(FORMS)) await time(`${name}, new`, form());
      for (const [name, format] of known) await time(`${name}, known`, format);
    }
    const none = mean(best.get("none")!);
    const times = [...best].map(([name, each]) => [
      name,
      {
        milliseconds: Number(mean(each).toFixed(3)),
        ratio: Number((mean(each) / none).toFixed(4)),
      },
    ]);
    return { dtype, tokens: TOKENS, ...Object.fromEntries(times) };
  } finally {
    await model.dispose();
  }
}

const options = flagsOrExit(
  "node bench/form-steps-run.ts [--model FOLDER] [--dtype q4] [--rounds 4]",
  readOptions,
);
console.log(JSON.stringify(await measure(options), undefined, 1));
