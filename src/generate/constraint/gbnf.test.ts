// Grammars in llama.cpp's notation: what they allow, and what is told of those with a mistake.

import { describe, expect, it } from "vitest";
import { TunesmithError } from "../../errors.ts";
import { readFormat } from "./response-format.ts";
import { fits, randomAnswers } from "./testing/random-answer.ts";

const ARITHMETIC = `# sums of products
root  ::= sum
sum   ::= product ([-+] product)*   # any number
product ::= factor ("*" factor)*
factor ::= [0-9]+ | "(" sum ")"
`;

it.each<[string, string, string[], string[]]>([
  ["rules that mention each other", ARITHMETIC, ["1+2*(3-40)", "((7))"], ["1+", "(1", "1 + 2", ""]],
  ["escapes", 'root ::= "\\x41\\u00e9\\U0001F600\\n\\"\\\\"', ['Aé😀\n"\\'], ["Aé😀\n"]],
  ["classes", "root ::= [^a-c\\]x-]{2}", ["de", "é "], ["a1", "]d", "-d", "d"]],
  ["a hyphen at the end", "root ::= [a-]+", ["a-", "--"], ["b", ""]],
  [
    "repetitions",
    'root ::= "a"{2} "b"{1,} "c"{0,2} "d"? .',
    ["aabx", "aabbccd😀"],
    ["abx", "aabcccdx"],
  ],
  [
    "alternatives over several lines",
    'root ::= ("a" |\n  "b"\n) end | other\nend ::= "!"\n\nother ::=\n  "o"',
    ["a!", "b!", "o"],
    ["a", "o!"],
  ],
  ["an empty alternative", 'root ::= "a" | ', ["a", ""], ["aa"]],
  ["rules that end with themselves", 'root ::= "a" root | "b"', ["b", "aaab"], ["a", "aa"]],
  ["nesting without end", 'root ::= "(" root ")" | ""', ["", "(())"], ["(()", "())"]],
])("%s", (_, grammar, allowed, refused) => {
  const format = { type: "grammar", grammar } as const;
  for (const text of allowed) expect(fits(format, text), text).toBe(true);
  for (const text of refused) expect(fits(format, text), text).toBe(false);
});

it("every random answer of a grammar is one", () => {
  const texts = randomAnswers({ type: "grammar", grammar: ARITHMETIC }, 40);
  expect(texts.length).toBeGreaterThan(10);
  for (const text of texts) {
    expect(text).toMatch(/^[\d()*+-]+$/);
    const withoutZeros = text.replaceAll(/\d+/g, "1");
    expect(() => new Function(`return ${withoutZeros}`)()).not.toThrow();
  }
});

describe("a grammar with a mistake is told by line and column", () => {
  it.each<[string, string, RegExp]>([
    ['root ::= "a', "line 1, column 12", /same line/],
    ["root ::= item\nitm ::= [a]", "line 1, column 10", /write itm/],
    ['start ::= "a"', "line 1, column 1", /root/],
    ['root ::= "a"\nroot ::= "b"', "line 2, column 1", /defined once/],
    ['root ::= ("a"', "line 1, column 14", /a group ends/],
    ["root ::= [z-a]", "line 1, column 14", /upwards/],
    ['root ::= "\\q"', "line 1, column 13", /escapes are/],
    ['root ::= "\\u12"', "line 1, column 13", /4 hexadecimal/],
    ["root = [a]", "line 1, column 6", /::=/],
    ['root ::= "a" &', "line 1, column 14", /made of/],
    ["root ::= <think>", "line 1, column 10", /not of tokens/],
  ])("%j", (grammar, place, message) => {
    try {
      readFormat({ type: "grammar", grammar }, "sums.gbnf");
    } catch (error) {
      expect(error).toBeInstanceOf(TunesmithError);
      expect((error as TunesmithError).faults[0]!.where).toBe(`sums.gbnf, ${place}`);
      expect(String(error)).toMatch(message);
      return;
    }
    throw new Error("it was taken");
  });

  it.each([
    ['root ::= root "a" | "b"', /no rule begins with itself[\s\S]*root → root/],
    ['root ::= a? b\na ::= "x"\nb ::= a? root | "c"', /begins with itself/],
    ['root ::= "a" root', /some answer fits/],
  ])("rules without end: %j", (grammar, message) =>
    expect(() => readFormat({ type: "grammar", grammar }, "sums.gbnf")).toThrow(message),
  );
});
