// Objects as text: the named properties in the order in which a schema names them, then others; as many
// of them as there may be.

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
import { COMMA, list, member } from "./json-text.ts";

export interface ObjectParts {
  readonly properties: readonly {
    readonly name: string;
    readonly value: Expression;
    readonly required: boolean;
  }[];
  /** A member with none of these names; undefined where there are none. */
  readonly other: Expression | undefined;
  /** Properties at least; of members with other names one counts, which may all have the same name. */
  readonly least: number;
  /** Properties at most; may be Infinity. */
  readonly most: number;
}

export function objectExpression({ properties, other, least, most }: ObjectParts): Expression {
  /** Numbers of written properties that are told apart; the last one stands for all above it. */
  const counted = Math.min(
    properties.length,
    most === Number.POSITIVE_INFINITY ? Math.max(least, 1) : most,
  );
  const anyOther = other && call(rule("other", other));
  /** What may follow the named properties of which so many have been written. */
  const others = (written: number): Expression => {
    const room = most - written;
    const lacking = Math.max(0, least - written);
    const none = written > 0 && lacking === 0 ? EMPTY : NOTHING;
    if (anyOther === undefined || room === 0 || lacking > 1) return none;
    if (written > 0) return repeat(sequence(COMMA, anyOther), lacking, room);
    return choice(none, sequence(anyOther, repeat(sequence(COMMA, anyOther), 0, room - 1)));
  };

  // From the last property to the first: what may follow, by how many have been written.
  let following = Array.from({ length: counted + 1 }, (_, written) => others(written));
  for (const { name, value, required } of properties.toReversed()) {
    const property = call(rule(name, member(literal(JSON.stringify(name)), value)));
    const behind = following.map((each) => call(rule(`after ${name}`, each)));
    following = behind.map((without, written) => {
      const isFull = written === most;
      const next = behind[Math.min(written + 1, counted)]!;
      const here = isFull ? NOTHING : sequence(...(written > 0 ? [COMMA] : []), property, next);
      return required ? here : choice(here, without);
    });
  }
  const members = list("{", following[0]!, "}");
  const mayBeEmpty = least === 0 && !properties.some(({ required }) => required);
  return mayBeEmpty ? choice(literal("{}"), members) : members;
}
