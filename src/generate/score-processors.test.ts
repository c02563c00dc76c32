// The sampling rules give what Transformers' logits processors gave for the same scores (stored by
// tests/parity/reference/sampling_cases.py).

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { createRandom } from "../runtime/random.ts";
import { chooseToken } from "./choose-token.ts";
import { type Sampling, type ScoreProcessor, scoreProcessors } from "./score-processors.ts";

interface Case {
  readonly settings: Sampling;
  readonly seen: readonly number[];
  readonly scores: readonly number[];
  /** null: the token is dropped. */
  readonly processed: readonly (number | null)[];
}

const file = join(import.meta.dirname, "../../tests/parity/cases/sampling/cases.json");
const { cases } = JSON.parse(readFileSync(file, "utf8")) as { cases: Case[] };

/** Every rule that the settings name, in the table's order. */
function processed({ settings, seen, scores }: Case): Float32Array {
  const result = Float32Array.from(scores);
  for (const [name, process] of Object.entries(scoreProcessors) as [
    keyof Sampling,
    ScoreProcessor,
  ][]) {
    const value = settings[name];
    if (value !== undefined) process(result, value, seen);
  }
  return result;
}

it("has cases for every rule", () => {
  const named = new Set(cases.flatMap(({ settings }) => Object.keys(settings)));
  expect([...named].sort()).toEqual(Object.keys(scoreProcessors).sort());
});

it.each(cases)("processes scores as Transformers does: $settings", (entry) => {
  const result = processed(entry);
  entry.processed.forEach((expected, id) => {
    if (expected === null) expect(result[id]).toBe(Number.NEGATIVE_INFINITY);
    else expect(result[id]).toBeCloseTo(expected, 5);
  });
});

it.each(cases)("draws only tokens that are left: $settings", (entry) => {
  const { settings, scores, seen } = entry;
  const random = createRandom(5);
  const logits = Float32Array.from(scores);
  const drawn = new Set<number>();
  for (let i = 0; i < 300; i++)
    drawn.add(chooseToken(logits, { temperature: 1, ...settings }, seen, random));
  for (const id of drawn) expect(entry.processed[id]).not.toBeNull();
});

it("keeps one of equal scores where the nucleus needs only one", () => {
  const scores = new Float32Array(4);
  scoreProcessors.topP(scores, 0.25);
  expect([...scores].filter(Number.isFinite)).toEqual([0]);
});
