// Times answers of a form: what a vocabulary, a form and each token take, with no model. Prints JSON, in
// milliseconds, which docs/decisions/0009-answers-of-a-form.md quotes.
//
//     node bench/constraint-run.ts --model .cache/smollm2/hf
//
// Each answer is written as it is, and each form is walked through at random, where tokens come that no model
// would choose. A token's time is that of its mask, laid on the scores. All is done several times from
// nothing; of each token the fastest time counts, since others use the machine as well. "again" is the
// same answer where all its states have been met before.

import { parseArgs } from "node:util";
import { constrainAnswer } from "../src/generate/constraint/answer-constraint.ts";
import { constraintOf } from "../src/generate/constraint/response-format.ts";
import { spellTokens } from "../src/generate/constraint/token-spellings.ts";
import { openCheckpoint, type Tokenizer } from "../src/hub/index.ts";
import { createRandom, type Random } from "../src/runtime/random.ts";
import { flagsOrExit } from "./flags.ts";
import { FORM_CASES, type FormCase } from "./form-cases.ts";
import { MODEL_FOLDER } from "./paths.ts";
import { quantile } from "./statistics.ts";
import { readCount } from "./workload.ts";

const WALKS = 6;
const MOST_TOKENS = 120;

function readOptions() {
  const { values } = parseArgs({
    options: { model: { type: "string", default: MODEL_FOLDER }, rounds: { type: "string" } },
  });
  return { model: values.model, rounds: readCount("rounds", values.rounds, 5) };
}

/** Gives the next token, by what may come; undefined where the answer ends. */
type Route = (scores: Float32Array) => number | undefined;

function alongAnswer(ids: readonly number[]): Route {
  let at = 0;
  return (scores) => {
    const id = ids[at++];
    if (id !== undefined && scores[id] !== 0)
      throw new Error(`token ${at} of the answer does not fit`);
    return id;
  };
}

/** Each token that may come is as likely as any other; what ends a text comes one time in eight. */
function atRandom(tokenizer: Tokenizer, random: Random): Route {
  const closing = ['"', "}", "]"].map((name) => tokenizer.tokenToId(name)!);
  let tokens = 0;
  return (scores) => {
    if (++tokens > MOST_TOKENS) return undefined;
    const ends = random.below(8) === 0 ? closing.filter((id) => scores[id] === 0) : [];
    if (ends.length > 0) return ends[random.below(ends.length)]!;
    const allowed: number[] = [];
    for (let id = 0; id < scores.length; id++) if (scores[id] === 0) allowed.push(id);
    return allowed[random.below(allowed.length)];
  };
}

/** Milliseconds of each token on several routes through one form, and of preparing it. */
function timeForm({ format, answer }: FormCase, tokenizer: Tokenizer) {
  const made = format();
  const prepared = processorTime(() => constraintOf(made, tokenizer));
  const constraint = constraintOf(made, tokenizer)!;
  const stop = tokenizer.eosTokenId ?? 0;
  const scores = new Float32Array(tokenizer.vocabularySize);
  const follow = (route: Route): number[] => {
    const times: number[] = [];
    const written = constrainAnswer(constraint, new Set([stop]));
    while (!written.isComplete) {
      scores.fill(0);
      const start = performance.now();
      written.restrict(scores);
      times.push(performance.now() - start);
      const id = route(scores);
      if (id === undefined || id === stop) break;
      written.accept(id);
    }
    return times;
  };
  const ids = tokenizer.encode(answer, { addSpecialTokens: false });
  const [first, again] = [follow(alongAnswer(ids)), follow(alongAnswer(ids))];
  const walks = Array.from({ length: WALKS }, (_, seed) =>
    follow(atRandom(tokenizer, createRandom(seed))),
  ).flat();
  return { prepared, first, again, walks };
}

const rounded = (milliseconds: number) => Number(milliseconds.toFixed(3));
const fastest = (rounds: readonly (readonly number[])[]): number[] =>
  rounds[0]!.map((_, i) => Math.min(...rounds.map((times) => times[i]!)));

function spread(rounds: readonly (readonly number[])[]) {
  const times = fastest(rounds);
  return {
    tokens: times.length,
    median: rounded(quantile(times, 0.5)),
    p99: rounded(quantile(times, 0.99)),
    most: rounded(quantile(times, 1)),
  };
}

/** Milliseconds of processor time: what takes long is often interrupted by others. */
function processorTime(run: () => unknown): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** What a vocabulary takes: milliseconds, and bytes that stay. */
function timeVocabulary(tokenizer: Tokenizer, rounds: number) {
  const bytes = (value: unknown): number => {
    if (ArrayBuffer.isView(value)) return value.byteLength;
    if (typeof value !== "object" || value === null) return 0;
    return Object.values(value).reduce((sum, each) => sum + bytes(each), 0);
  };
  const times = Array.from({ length: rounds }, () => processorTime(() => spellTokens(tokenizer)));
  return {
    tokens: tokenizer.vocabularySize,
    first: rounded(times[0]!),
    fastest: rounded(Math.min(...times)),
    bytes: bytes(spellTokens(tokenizer)),
  };
}

async function measure({ model, rounds }: ReturnType<typeof readOptions>): Promise<object> {
  const checkpoint = await openCheckpoint(model);
  try {
    const tokenizer = await checkpoint.loadTokenizer();
    const vocabulary = timeVocabulary(tokenizer, rounds);
    const all = { first: [] as number[][], again: [] as number[][], walks: [] as number[][] };
    const forms = Object.entries(FORM_CASES).map(([name, form]) => {
      const measured = Array.from({ length: rounds }, () => timeForm(form, tokenizer));
      const of = (kind: keyof typeof all) => {
        const times = measured.map((each) => each[kind]);
        all[kind].push(fastest(times));
        return spread(times);
      };
      const prepared = rounded(Math.min(...measured.map((each) => each.prepared)));
      return [name, { prepared, first: of("first"), again: of("again"), walks: of("walks") }];
    });
    const total = Object.fromEntries(
      Object.entries(all).map(([kind, times]) => [kind, spread([times.flat()])]),
    );
    return { vocabulary, total, forms: Object.fromEntries(forms) };
  } finally {
    await checkpoint.close();
  }
}

const options = flagsOrExit(
  "node bench/constraint-run.ts [--model FOLDER|GGUF] [--rounds 5]",
  readOptions,
);
console.log(JSON.stringify(await measure(options), undefined, 1));
