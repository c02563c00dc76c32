// How much plain text a state has room for: as many characters as a form leaves, whichever they are.

import { expect, it } from "vitest";
import { createPlainRoom, isPlainByte } from "./plain-text.ts";
import { type ResponseFormat, readFormat } from "./response-format.ts";

const string = (more: object): ResponseFormat => ({
  type: "json_schema",
  schema: { type: "string", ...more },
});

it.each<[string, ResponseFormat, string, number | undefined]>([
  ["nothing before a string begins", string({}), "", 0],
  ["without end", string({}), '"', 4],
  ["behind text", string({}), '"é😀a', 4],
  ["as much as is left", string({ maxLength: 5 }), '"ab', 3],
  ["more than is asked for", string({ maxLength: 5 }), '"', 4],
  ["none at the bound", string({ maxLength: 2 }), '"ab', 0],
  ["what must come counts as what may", string({ minLength: 2, maxLength: 3 }), '"', 3],
  ["some escapes but not others", string({}), '"\\', undefined],
  ["a half of a character", string({}), '"\u00e9'.slice(0, 2), 4],
  ["some characters and not others", string({ pattern: "^[a-z]{9}$" }), '"', undefined],
  ["some, later on", string({ pattern: "^[^]{2}[a-z]" }), '"', undefined],
  [
    "two ways of one length",
    { type: "regex", pattern: '"([a-m][^"\\\\]|[^a-m"\\\\][^\\\\"])"' },
    '"',
    2,
  ],
  ["two ways of two lengths", { type: "regex", pattern: '"([a-m][^"]|[^a-m"])"' }, '"', undefined],
])("%s", (_, format, text, room) => {
  const automaton = readFormat(format)!;
  let state = automaton.start;
  for (const byte of Buffer.from(text)) state = automaton.next(state, automaton.classOf[byte]!);
  expect(createPlainRoom(automaton, 4)(state)).toBe(room);
});

it("plain bytes are those of JSON strings without escapes", () => {
  const whole = (byte: number) => JSON.stringify(String.fromCharCode(byte)).length === 3;
  for (let byte = 0; byte < 256; byte++) expect(isPlainByte(byte), String(byte)).toBe(whole(byte));
});
