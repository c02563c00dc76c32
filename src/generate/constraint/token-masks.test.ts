// A state's mask is what stepping through every token's bytes finds, and a form that is unknown is told.

import { expect, it } from "vitest";
import type { Tokenizer } from "../../hub/index.ts";
import { createRandom } from "../../runtime/random.ts";
import { constrainAnswer } from "./answer-constraint.ts";
import { DEAD } from "./automaton.ts";
import { constraintOf, type ResponseFormat, readFormat } from "./response-format.ts";
import { embedded } from "./testing/random-answer.ts";
import { emptyMask, keepMasked } from "./token-mask.ts";

const FORMATS: readonly ResponseFormat[] = [
  { type: "json_object" },
  { type: "json_schema", schema: { type: "array", items: { type: "string", maxLength: 6 } } },
  { type: "regex", pattern: "(\\p{L}+[ ,]){3}[^\\x00-\\x7f]+" },
  { type: "grammar", grammar: 'root ::= "(" root ")" | [a-z ]{9,}' },
  { type: "json_schema", schema: { type: "string", minLength: 4, maxLength: 24 } },
  { type: "regex", pattern: '[^"\\\\]{3,6}"?' },
  { type: "regex", pattern: '([a-m][^"]|[^a-m"]){2,6}' },
];

it.each(FORMATS)("masks agree with stepping byte by byte: %j", (format) => {
  const { automaton, maskOf } = constraintOf(format, embedded)!;
  const random = createRandom(1);
  const states = [automaton.start];
  for (let walk = 0; walk < 8; walk++) {
    let state = automaton.start;
    for (let step = 0; step < 8; step++) {
      const mask = maskOf(state);
      const stepped = Array.from({ length: embedded.vocabularySize }, (_, id) => {
        const bytes = embedded.tokenBytes!(id);
        let at = bytes === undefined ? DEAD : state;
        for (const byte of bytes ?? [])
          if (at !== DEAD) at = automaton.next(at, automaton.classOf[byte]!);
        return at;
      });
      const allowed = [...stepped.keys()].filter((id) => stepped[id] !== DEAD);
      const masked = [...stepped.keys()].filter((id) => (mask[id >> 5]! >>> (id & 31)) & 1);
      expect(masked).toEqual(allowed);
      if (allowed.length === 0) break;
      state = stepped[allowed[random.below(allowed.length)]!]!;
      states.push(state);
    }
  }
  expect(new Set(states).size).toBeGreaterThan(3);
});

it("scores are cut down to a mask, token by token", () => {
  const random = createRandom(2);
  for (const [tokens, share] of [
    [70, 2],
    [70, 40],
    [200, 90],
    [64, 1],
    [31, 1000],
  ] as const) {
    const mask = emptyMask(tokens);
    const kept = Array.from({ length: tokens }, (_, id) => id).filter(
      () => random.below(share) === 0,
    );
    for (const id of kept) mask[id >> 5]! |= 1 << (id & 31);
    const scores = new Float32Array(tokens + 40).fill(1);
    expect(keepMasked(scores, mask)).toBe(kept[0] ?? -1);
    expect([...scores.keys()].filter((id) => scores[id] === 1)).toEqual(kept);
    expect([...scores].every((score) => score === 1 || score === -Infinity)).toBe(true);
  }
});

it("stop tokens come where the answer may end and nowhere else", () => {
  const constraint = constraintOf({ type: "regex", pattern: "a*b?" }, embedded)!;
  const stop = embedded.eosTokenId!;
  const answer = constrainAnswer(constraint, new Set([stop]));
  const scores = () => {
    const all = new Float32Array(embedded.vocabularySize + 3);
    answer.restrict(all);
    return all;
  };
  expect(scores()[stop]).toBe(0);
  // Ids beyond the vocabulary stand for nothing.
  expect([...scores().slice(-3)]).toEqual([-Infinity, -Infinity, -Infinity]);
  answer.accept(embedded.tokenToId("a")!);
  expect([scores()[stop], answer.isComplete]).toEqual([0, false]);
  answer.accept(embedded.tokenToId("b")!);
  expect(answer.isComplete).toBe(true);

  const whole = constrainAnswer(
    constraintOf({ type: "regex", pattern: "ab" }, embedded)!,
    new Set([stop]),
  );
  const first = new Float32Array(embedded.vocabularySize);
  whole.restrict(first);
  expect(first[stop]).toBe(-Infinity);
});

it("a format is prepared once for a tokenizer", () => {
  const format = FORMATS[0]!;
  expect(constraintOf(format, embedded)).toBe(constraintOf(format, embedded));
  expect(constraintOf({ type: "text" }, embedded)).toBeUndefined();
});

it("what cannot be a format, and tokenizers without bytes, are told", () => {
  const read = (format: object) => () => readFormat(format as ResponseFormat);
  expect(read({ type: "json-schema" })).toThrow(/type is one of[\s\S]*write json_schema/);
  expect(read({})).toThrow(/no type/);
  const { tokenBytes: _, ...without } = embedded;
  expect(() => constraintOf({ type: "json_object" }, without as Tokenizer)).toThrow(
    /neither byte-level nor SentencePiece/,
  );
});
