// Two expressions followed side by side: every short text fits as JavaScript's matcher says of each.

import { describe, expect, it } from "vitest";
import { createAutomaton, DEAD } from "./automaton.ts";
import { type Expression, NOTHING } from "./expression.ts";
import { buildNetwork } from "./network.ts";
import { regexExpression } from "./regex.ts";
import { both, except } from "./regular.ts";

const PATTERNS = ["a*b?", "(ab|é)*", "[^a]{1,3}", "(a|b|é){2}", "", "a(b|é)+", "b.*"];
const LETTERS = ["a", "b", "é", "😀"];

/** Every text of up to four of the letters. */
const TEXTS = [1, 2, 3, 4].reduce(
  (texts) => ["", ...texts.flatMap((text) => LETTERS.map((letter) => text + letter))],
  [""],
);

const expressionOf = (pattern: string) => regexExpression(pattern, { where: "pattern" });

function matcherOf(expression: Expression): (text: string) => boolean {
  const automaton = createAutomaton(buildNetwork(expression, "both"), "both");
  return (text) => {
    let state = automaton.start;
    for (const byte of Buffer.from(text)) {
      if (state === DEAD) return false;
      state = automaton.next(state, automaton.classOf[byte]!);
    }
    return state !== DEAD && automaton.isAccepting(state);
  };
}

describe.each(PATTERNS)("%j", (first) => {
  it.each(PATTERNS)("with and without %j", (second) => {
    const matches = (pattern: string, text: string) =>
      new RegExp(`^(?:${pattern})$`, "u").test(text);
    const fitsBoth = matcherOf(both(expressionOf(first), expressionOf(second), "both"));
    const fitsFirst = matcherOf(except(expressionOf(first), expressionOf(second), "except"));
    for (const text of TEXTS) {
      const [inFirst, inSecond] = [matches(first, text), matches(second, text)];
      expect(fitsBoth(text), text).toBe(inFirst && inSecond);
      expect(fitsFirst(text), text).toBe(inFirst && !inSecond);
    }
  });
});

it("what no text fits is nothing", () => {
  expect(both(expressionOf("a+"), expressionOf("b+"), "both")).toBe(NOTHING);
  expect(both(expressionOf("(aa)+"), NOTHING, "both")).toBe(NOTHING);
  expect(except(expressionOf("a{1,3}"), expressionOf("a+"), "except")).toBe(NOTHING);
});

it("more than memory should hold is told", () => {
  const [long, longer] = ["é{0,11000}", "[^a]{0,30000}"].map(expressionOf);
  expect(() => both(long!, longer!, "#/pattern")).toThrow(/#\/pattern[\s\S]*lower the largest/);
});
