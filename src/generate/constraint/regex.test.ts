// Regular expressions: what their form allows is what the engine's own matcher takes for the whole text.

import { describe, expect, it } from "vitest";
import { readFormat } from "./response-format.ts";
import { fits, randomAnswers } from "./testing/random-answer.ts";

const PATTERNS = [
  "(\\d{3}-){2}\\d{4}",
  "yes|no|perhaps not",
  "[A-Z][a-z]{0,5}( [^\\W\\d_]{1,4})*\\.",
  "(a|ab)(c|bcd)?d*",
  "[\\u00e0-\\u{1f600}]{1,3}",
  "\\p{Lu}(?:x+|(?<name>y)?){2}",
  "a{2,}b{0}[^a-y\\s]{2}",
  "(?:(a{1,2}){1,2}b?)+",
  "",
];

const TEXTS = [
  "",
  "yes",
  "no",
  "noo",
  "abcd",
  "abbcd",
  "acddd",
  "aad",
  "aaaab",
  "b",
  "aaz!",
  "é",
  "😀",
  "a-b",
  "Xyxx",
  "Ab cd.",
  "Ab 12.",
  "123-456-7890",
  "123-456-789",
  "perhaps not",
  "\n",
  "aaaa",
];

it.each(PATTERNS)("/%s/ allows what JavaScript matches", (pattern) => {
  const matcher = new RegExp(`^(?:${pattern})$`, "u");
  const format = { type: "regex", pattern } as const;
  const answers = randomAnswers(format, 20);
  expect(answers.length).toBeGreaterThan(0);
  for (const text of answers) expect(matcher.test(text), text).toBe(true);
  // Some answers with one character changed, and texts of any kind.
  const near = answers.flatMap((text) => [text.slice(1), `${text}b`, text.replace(/[a-m]/, "n")]);
  for (const text of [...TEXTS, ...near])
    expect(fits(format, text), JSON.stringify(text)).toBe(matcher.test(text));
});

it("takes anchors at the ends, where they say nothing", () => {
  expect(fits({ type: "regex", pattern: "^a|b$" }, "a")).toBe(true);
  expect(fits({ type: "regex", pattern: "^a|b$" }, "ab")).toBe(false);
});

describe("what no automaton can follow is refused", () => {
  it.each([
    ["a(?=b)b", /looking ahead[\s\S]*saw: \(\?=b\)/],
    ["(?<!a)b", /looking behind/],
    ["\\bword", /word boundaries/],
    ["(a)\\1", /references back/],
    ["a^b", /\^ elsewhere/],
    ["(a$|b)c", /\$ elsewhere/],
    ["(?i:a)", /modifiers/],
    ["(a", /Unterminated group/],
    ["\\-", /escape/],
    ["[]", /some answer fits/],
    ["(a{500}){1000}b{300000}", /repetitions/],
  ])("%s", (pattern, message) => {
    expect(() => readFormat({ type: "regex", pattern }, "--regex")).toThrow(message);
    expect(() => readFormat({ type: "regex", pattern }, "--regex")).toThrow(/^--regex/);
  });
});
