// Times answers of a form: what a vocabulary, a form and each token take, on random walks through forms, and
// nothing of a model. Prints one line of JSON (milliseconds), which docs/decisions/0009-answers-of-a-form.md quotes.
//
//     node bench/constraint-run.ts --model .cache/smollm2/hf
//
// A walk is done several times from nothing; of each of its tokens the fastest time counts, since others
// use the machine as well. "again" is the same walk where all its states have been met before.

import { parseArgs } from "node:util";
import { constrainAnswer } from "../src/generate/constraint/answer-constraint.ts";
import { constraintOf, type ResponseFormat } from "../src/generate/constraint/response-format.ts";
import { spellTokens } from "../src/generate/constraint/token-spellings.ts";
import { openCheckpoint, type Tokenizer } from "../src/hub/index.ts";
import { createRandom, type Random } from "../src/runtime/random.ts";
import { flagsOrExit } from "./flags.ts";
import { MODEL_FOLDER } from "./paths.ts";
import { quantile } from "./statistics.ts";
import { readCount } from "./workload.ts";

function readOptions() {
  const { values } = parseArgs({
    options: {
      model: { type: "string", default: MODEL_FOLDER },
      rounds: { type: "string" },
      walks: { type: "string" },
    },
  });
  return {
    model: values.model,
    rounds: readCount("rounds", values.rounds, 5),
    walks: readCount("walks", values.walks, 20),
  };
}

const object = (properties: object, required = Object.keys(properties)) => ({
  type: "object",
  properties,
  required,
});
const text = (maxLength?: number) => ({ type: "string", ...(maxLength && { maxLength }) });
const schema = (of: object): ResponseFormat => ({ type: "json_schema", schema: of as never });

/** Made anew each time: a format is prepared once for each object. */
const FORMS: Readonly<Record<string, () => ResponseFormat>> = {
  "five properties": () =>
    schema(
      object({
        name: text(),
        age: { type: "integer", minimum: 0, maximum: 120 },
        height: { type: "number", minimum: 0.5, maximum: 2.5 },
        mood: { enum: ["glad", "sad", "neither of the two"] },
        colours: { type: "array", items: text(), maxItems: 5 },
      }),
    ),
  "bounded strings": () =>
    schema(object({ title: text(40), author: text(20), summary: text(300), code: text(8) })),
  "a recursive schema": () =>
    schema({
      $defs: {
        node: object({
          name: text(30),
          children: { type: "array", items: { $ref: "#/$defs/node" } },
        }),
      },
      $ref: "#/$defs/node",
    }),
  "any object": () => ({ type: "json_object" }),
  formats: () =>
    schema(
      object({
        at: { type: "string", format: "date-time" },
        mail: { type: "string", format: "email" },
        page: { type: "string", format: "uri" },
        id: { type: "string", format: "uuid" },
      }),
    ),
  "a pattern of letters": () => ({
    type: "regex",
    pattern: "\\p{Lu}\\p{Ll}{1,20}( \\p{Lu}\\p{Ll}{1,20}){1,5}",
  }),
  "a grammar": () => ({
    type: "grammar",
    grammar:
      'root ::= sum\nsum ::= product ([-+] product)*\nproduct ::= factor ("*" factor)*\nfactor ::= [0-9]+ | "(" sum ")"',
  }),
};

const MOST_TOKENS = 120;

/** A walk: each token that may come is as likely as any other, but that what ends a text comes one time in eight. */
function chooseToken(scores: Float32Array, closing: readonly number[], random: Random): number {
  const ends = random.below(8) === 0 ? closing.filter((id) => scores[id] === 0) : [];
  if (ends.length > 0) return ends[random.below(ends.length)]!;
  const allowed: number[] = [];
  for (let id = 0; id < scores.length; id++) if (scores[id] === 0) allowed.push(id);
  return allowed[random.below(allowed.length)]!;
}

/** Milliseconds of each token of several walks through one form, and of preparing it. */
function timeWalks(form: () => ResponseFormat, tokenizer: Tokenizer, walks: number) {
  const format = form();
  const began = performance.now();
  const constraint = constraintOf(format, tokenizer)!;
  const prepared = performance.now() - began;
  const closing = ['"', "}", "]"].map((name) => tokenizer.tokenToId(name)!);
  const stop = tokenizer.eosTokenId ?? 0;
  const scores = new Float32Array(tokenizer.vocabularySize);
  const pass = (): number[] => {
    const times: number[] = [];
    for (let seed = 0; seed < walks; seed++) {
      const random = createRandom(seed);
      const answer = constrainAnswer(constraint, new Set([stop]));
      for (let tokens = 0; tokens < MOST_TOKENS && !answer.isComplete; tokens++) {
        scores.fill(0);
        const start = performance.now();
        answer.restrict(scores);
        const masked = performance.now() - start;
        const id = chooseToken(scores, closing, random);
        const again = performance.now();
        answer.accept(id);
        times.push(masked + performance.now() - again);
        if (id === stop) break;
      }
    }
    return times;
  };
  return { prepared, first: pass(), again: pass() };
}

const fastest = (rounds: readonly (readonly number[])[]): number[] =>
  rounds[0]!.map((_, i) => Math.min(...rounds.map((times) => times[i]!)));
const rounded = (milliseconds: number) => Number(milliseconds.toFixed(4));
const spread = (times: readonly number[]) => ({
  median: rounded(quantile(times, 0.5)),
  p99: rounded(quantile(times, 0.99)),
  most: rounded(quantile(times, 1)),
});

/** What a vocabulary takes: milliseconds, and bytes that stay. */
function timeVocabulary(tokenizer: Tokenizer, rounds: number) {
  const times: number[] = [];
  const spellings = spellTokens(tokenizer);
  for (let round = 0; round < rounds; round++) {
    const began = performance.now();
    spellTokens(tokenizer);
    times.push(performance.now() - began);
  }
  const bytes = (value: unknown): number => {
    if (ArrayBuffer.isView(value)) return value.byteLength;
    if (typeof value !== "object" || value === null) return 0;
    return Object.values(value).reduce((sum, each) => sum + bytes(each), 0);
  };
  return { milliseconds: rounded(Math.min(...times)), bytes: bytes(spellings) };
}

async function measure({ model, rounds, walks }: ReturnType<typeof readOptions>): Promise<object> {
  const checkpoint = await openCheckpoint(model);
  try {
    const tokenizer = await checkpoint.loadTokenizer();
    const vocabulary = timeVocabulary(tokenizer, rounds);
    const forms = Object.entries(FORMS).map(([name, form]) => {
      const measured = Array.from({ length: rounds }, () => timeWalks(form, tokenizer, walks));
      return [
        name,
        {
          prepared: rounded(Math.min(...measured.map(({ prepared }) => prepared))),
          tokens: measured[0]!.first.length,
          first: spread(fastest(measured.map(({ first }) => first))),
          again: spread(fastest(measured.map(({ again }) => again))),
        },
      ];
    });
    return { tokens: tokenizer.vocabularySize, vocabulary, forms: Object.fromEntries(forms) };
  } finally {
    await checkpoint.close();
  }
}

const options = flagsOrExit(
  "node bench/constraint-run.ts [--model FOLDER|GGUF] [--rounds 5] [--walks 20]",
  readOptions,
);
console.log(JSON.stringify(await measure(options), undefined, 1));
