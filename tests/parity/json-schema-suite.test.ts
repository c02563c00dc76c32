// JSON Schema's own test suite: a form never takes a value that is not valid. TUNESMITH_JSON_SCHEMA_SUITE is a
// checkout of github.com/json-schema-org/JSON-Schema-Test-Suite.

import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, it } from "vitest";
import { TunesmithError } from "../../src/errors.ts";
import { DEAD } from "../../src/generate/constraint/automaton.ts";
import type { JsonSchema } from "../../src/generate/constraint/json-schema.ts";
import { readFormat } from "../../src/generate/constraint/response-format.ts";

interface Group {
  readonly description: string;
  readonly schema: JsonSchema;
  readonly tests: readonly { readonly data: unknown; readonly valid: boolean }[];
}

const suite = process.env.TUNESMITH_JSON_SCHEMA_SUITE;

/** Whether the form of a schema takes a value, as JSON without white space. */
function matcherOf(schema: JsonSchema): (value: unknown) => boolean {
  const automaton = readFormat({ type: "json_schema", schema }, "suite")!;
  return (value) => {
    let state = automaton.start;
    for (const byte of Buffer.from(JSON.stringify(value))) {
      if (state === DEAD) return false;
      state = automaton.next(state, automaton.classOf[byte]!);
    }
    return state !== DEAD && automaton.isAccepting(state);
  };
}

interface Counts {
  schemas: number;
  /** Schemas that answers cannot be held to, which is said. */
  refused: number;
  valid: number;
  /** Valid values that a form takes: it is narrower than its schema. */
  taken: number;
  invalid: number;
  /** Invalid values that a form takes. */
  readonly wrong: string[];
}

function tryFile(path: string, counts: Counts): void {
  for (const { description, schema, tests } of JSON.parse(readFileSync(path, "utf8")) as Group[]) {
    counts.schemas++;
    let takes: (value: unknown) => boolean;
    try {
      takes = matcherOf(schema);
    } catch (error) {
      if (!(error instanceof TunesmithError)) throw error;
      counts.refused++;
      continue;
    }
    for (const { data, valid } of tests) {
      const isTaken = takes(data);
      counts[valid ? "valid" : "invalid"]++;
      if (valid && isTaken) counts.taken++;
      if (!valid && isTaken)
        counts.wrong.push(`${basename(path)}, ${description}: ${JSON.stringify(data)}`);
    }
  }
}

it.skipIf(!suite)("no value of JSON Schema's test suite is taken that is not valid", () => {
  const folder = join(suite!, "tests", "draft2020-12");
  const counts: Counts = { schemas: 0, refused: 0, valid: 0, taken: 0, invalid: 0, wrong: [] };
  for (const each of [folder, join(folder, "optional"), join(folder, "optional", "format")])
    for (const name of readdirSync(each).filter((name) => name.endsWith(".json")))
      tryFile(join(each, name), counts);
  console.log(counts);
  expect(counts.wrong).toEqual([]);
  expect(counts.refused).toBeLessThan(0.6 * counts.schemas);
  expect(counts.taken).toBeGreaterThan(0.5 * counts.valid);
});
