// Objects of a schema: the named properties in the order in which the schema names them, then others
// where it speaks of others.

import { ANY_CHARACTER, type CodePoints, charactersOf, complement } from "./code-points.ts";
import {
  call,
  choice,
  EMPTY,
  type Expression,
  literal,
  NOTHING,
  repeat,
  rule,
  sequence,
} from "./expression.ts";
import { COMMA, inString, list, member, quoted } from "./json-text.ts";

export interface ObjectParts {
  readonly properties: readonly {
    readonly name: string;
    readonly value: Expression;
    readonly required: boolean;
  }[];
  /** The value of properties without a name here; undefined where there are none. */
  readonly others: Expression | undefined;
}

export function objectExpression({ properties, others }: ObjectParts): Expression {
  const names = properties.map(({ name }) => [...name]);
  const other = others && call(rule("other", member(quoted(anyBut(names)), others)));
  const following = other ? repeat(sequence(COMMA, other)) : EMPTY;
  const first = other ? sequence(other, following) : NOTHING;

  // From the last property to the first: what may follow where none has been written, and where one has.
  let [none, some] = [first, following];
  for (const { name, value, required } of properties.toReversed()) {
    const written = call(rule(name, member(literal(JSON.stringify(name)), value)));
    const here = call(rule(`after ${name}`, some));
    const ifNone = sequence(written, here);
    const ifSome = sequence(COMMA, written, here);
    [none, some] = required ? [ifNone, ifSome] : [choice(ifNone, none), choice(ifSome, here)];
  }
  const members = list("{", none, "}");
  return properties.some(({ required }) => required) ? members : choice(literal("{}"), members);
}

const ANYTHING = repeat(inString(ANY_CHARACTER));

/** Every text but the given ones, each with one spelling: a name written otherwise is the same name. */
function anyBut(names: readonly (readonly string[])[]): Expression {
  const begun = new Map<string, string[][]>();
  for (const [letter, ...rest] of names)
    if (letter !== undefined) begun.set(letter, [...(begun.get(letter) ?? []), rest]);
  const unnamed: CodePoints = complement(charactersOf([...begun.keys()].join("")));
  return choice(
    names.some((name) => name.length === 0) ? NOTHING : EMPTY,
    sequence(inString(unnamed), ANYTHING),
    ...[...begun].map(([letter, rests]) => sequence(inString(charactersOf(letter)), anyBut(rests))),
  );
}
