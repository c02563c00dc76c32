// Times what a form adds to the steps of an answer by a model: each token is computed, cut down to the form and
// chosen, and both parts are timed where they meet each other's traces in the caches. Prints JSON, in
// milliseconds, which docs/decisions/0009-answers-of-a-form.md quotes.
//
//     node bench/form-steps-run.ts --dtype q4
//
// "new" prepares the form in every round, so that every mask is made; "known" is the same format object again,
// whose masks are there. Of each token the fastest round counts, since others use the machine as well.

import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { createDecoder } from "../src/engine/decoding/decoder.ts";
import { openModel } from "../src/engine/load.ts";
import { MODEL_DTYPES } from "../src/engine/weights/model-dtype.ts";
import { constrainAnswer } from "../src/generate/constraint/answer-constraint.ts";
import { constraintOf, type ResponseFormat } from "../src/generate/constraint/response-format.ts";
import { openCheckpoint } from "../src/hub/index.ts";
import { flagsOrExit } from "./flags.ts";
import { MODEL_FOLDER } from "./paths.ts";
import { mean } from "./statistics.ts";
import { readCount } from "./workload.ts";

const TOKENS = 64;
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
  const best = new Map<string, { step: number[]; form: number[] }>();
  const time = async (name: string, format: ResponseFormat): Promise<void> => {
    const answer = constrainAnswer(constraintOf(format, tokenizer)!, new Set());
    const decoder = createDecoder(model);
    let [logits] = await decoder.append([prompt]);
    const times = { step: [] as number[], form: [] as number[] };
    for (let token = 0; token < TOKENS; token++) {
      const began = performance.now();
      answer.restrict(logits!);
      const id = likeliest(logits!);
      answer.accept(id);
      const chosen = performance.now();
      [logits] = await decoder.append([[id]]);
      times.form.push(chosen - began);
      times.step.push(performance.now() - chosen);
    }
    const before = best.get(name) ?? times;
    const fastest = (part: keyof typeof times) =>
      times[part].map((each, i) => Math.min(each, before[part][i]!));
    best.set(name, { step: fastest("step"), form: fastest("form") });
  };
  try {
    const known = Object.entries(FORMS).map(([name, form]) => [name, form()] as const);
    for (let round = 0; round <= rounds; round++) {
      // The first round compiles, prepares the vocabulary and meets all states.
      if (round === 1) best.clear();
      for (const [name, form] of Object.entries(FORMS)) await time(`${name}, new`, form());
      for (const [name, format] of known) await time(`${name}, known`, format);
    }
    const times = [...best].map(([name, { step, form }]) => {
      const share = mean(form) / mean(step);
      return [name, { step: mean(step), form: mean(form), most: Math.max(...form), share }];
    });
    return { dtype, threads, tokens: TOKENS, ...Object.fromEntries(times) };
  } finally {
    await model.dispose();
  }
}

function likeliest(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

const options = flagsOrExit(
  "node bench/form-steps-run.ts [--model FOLDER] [--dtype q4] [--rounds 4]",
  readOptions,
);
console.log(JSON.stringify(await measure(options), undefined, 1));
