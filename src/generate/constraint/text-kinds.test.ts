// How much text of a kind a state has room for: as many characters as a form leaves, whichever they are.

import { expect, it } from "vitest";
import { type ResponseFormat, readFormat } from "./response-format.ts";
import { createRoom, TEXT_KINDS } from "./text-kinds.ts";
import { utf8Ranges } from "./utf8-ranges.ts";

const [plain, small] = TEXT_KINDS;

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
  expect(createRoom(automaton, plain!, 4)(state)).toBe(room);
});

it("small letters have room where others have not", () => {
  const { start, ...automaton } = readFormat({ type: "regex", pattern: "([a-z]|\\d[A-Z]){2,3}!" })!;
  expect(createRoom({ start, ...automaton }, plain!, 4)(start)).toBe(undefined);
  expect(createRoom({ start, ...automaton }, small!, 4)(start)).toBe(3);
});

it.each(TEXT_KINDS)("bytes are those of the characters: $characters.length ranges", (kind) => {
  const ranges = utf8Ranges(kind.characters).flat();
  for (let byte = 0; byte < 0x80; byte++)
    expect(kind.has(byte)).toBe(ranges.some(([low, high]) => low <= byte && byte <= high));
});

it("plain text is what a JSON string holds without escapes", () => {
  for (let byte = 0; byte < 0x80; byte++)
    expect(plain!.has(byte)).toBe(JSON.stringify(String.fromCharCode(byte)).length === 3);
});
