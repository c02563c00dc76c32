// JSON as text: strings, spaces and values as RFC 8259 has them, a little narrower where a model could
// otherwise go on forever with what means nothing.

import { type CodePoints, charactersOf, complement, intersection } from "./code-points.ts";
import {
  call,
  character,
  choice,
  type Expression,
  literal,
  optional,
  repeat,
  rule,
  sequence,
} from "./expression.ts";
import { numbersBetween } from "./json-numbers.ts";
import { PLAIN } from "./text-kinds.ts";

/** Nothing, one space, or a line break with an indentation; behind what opens or separates. */
export const SPACE: Expression = call(
  rule(
    "space",
    optional(
      choice(literal(" "), sequence(literal("\n"), repeat(character([0x20, 0x20], [9, 9]), 0, 20))),
    ),
  ),
);

const QUOTE = literal('"');
const ESCAPED = complement(PLAIN);
const hexadecimal = (digits: string): Expression => ({
  kind: "character",
  set: charactersOf(digits),
});
const HEX = hexadecimal("0123456789abcdefABCDEF");

/** A character in a string, in any of its spellings; halves of surrogate pairs only as pairs. */
const CHARACTER: Expression = call(
  rule(
    "character",
    choice(
      { kind: "character", set: PLAIN },
      sequence(literal("\\"), { kind: "character", set: charactersOf('"\\/bfnrt') }),
      sequence(
        literal("\\u"),
        choice(
          sequence(hexadecimal("0123456789abcefABCEF"), HEX, HEX, HEX),
          sequence(hexadecimal("dD"), hexadecimal("01234567"), HEX, HEX),
          sequence(
            ...[hexadecimal("dD"), hexadecimal("89abAB"), HEX, HEX, literal("\\u")],
            ...[hexadecimal("dD"), hexadecimal("cdefCDEF"), HEX, HEX],
          ),
        ),
      ),
    ),
  ),
);

/** A string of so many characters. */
export const stringOfLength = (least = 0, most = Number.POSITIVE_INFINITY): Expression =>
  sequence(QUOTE, repeat(CHARACTER, least, most), QUOTE);

export const quoted = (content: Expression): Expression => sequence(QUOTE, content, QUOTE);

/** A text as it is written in a string, each character in one spelling. */
export const spelled = (text: string): Expression => literal(JSON.stringify(text).slice(1, -1));

/** A character of a set as it is written in a string, each in one spelling. */
export function inString(set: CodePoints): Expression {
  const escaped = intersection(set, ESCAPED).flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => spelled(String.fromCodePoint(first + i))),
  );
  return choice({ kind: "character", set: intersection(set, PLAIN) }, ...escaped);
}

/** `open`, items with commas between them, `close`. */
export const list = (open: string, items: Expression, close: string): Expression =>
  sequence(literal(open), SPACE, items, SPACE, literal(close));

export const COMMA: Expression = sequence(literal(","), SPACE);

/** A member of an object. */
export const member = (key: Expression, value: Expression): Expression =>
  sequence(key, literal(":"), SPACE, value);

/** One, or several with commas between them. */
export const separated = (item: Expression): Expression =>
  sequence(item, repeat(sequence(COMMA, item)));

const ANY_RULE = rule("value");

/** Any value. */
export const ANY_VALUE: Expression = call(ANY_RULE);

const STRING = call(rule("string", stringOfLength()));

/** Any value of a type. */
export const ANY_OF_TYPE = {
  object: choice(literal("{}"), list("{", separated(member(STRING, ANY_VALUE)), "}")),
  array: choice(literal("[]"), list("[", separated(ANY_VALUE), "]")),
  string: STRING,
  number: numbersBetween({}),
  boolean: choice(literal("true"), literal("false")),
  null: literal("null"),
} as const satisfies Record<string, Expression>;

ANY_RULE.body = choice(...Object.values(ANY_OF_TYPE));

/** One given value. */
export function exactly(value: unknown): Expression {
  if (Array.isArray(value))
    return value.length === 0 ? literal("[]") : list("[", joined(value.map(exactly)), "]");
  if (typeof value !== "object" || value === null) return literal(JSON.stringify(value));
  const members = Object.entries(value).map(([key, each]) =>
    member(literal(JSON.stringify(key)), exactly(each)),
  );
  return members.length === 0 ? literal("{}") : list("{", joined(members), "}");
}

/** Given items with commas between them. */
export const joined = (items: readonly Expression[]): Expression =>
  sequence(...items.flatMap((item, i) => (i === 0 ? [item] : [COMMA, item])));
