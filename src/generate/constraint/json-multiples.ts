// Multiples of a number, digit by digit: what matters of the digits so far is the remainder they leave.

import { decimal } from "./decimal.ts";
import {
  call,
  character,
  choice,
  EMPTY,
  type Expression,
  literal,
  NOTHING,
  optional,
  type Rule,
  repeat,
  rule,
  sequence,
} from "./expression.ts";

/** Remainders that are told apart, at most; zeros at the end of the number do not count. */
const MOST_REMAINDERS = 128;

export interface Multiples {
  /** Numbers without an exponent; leading zeros among them. */
  readonly expression: Expression;
  /** Places behind the point that they have at most. */
  readonly places: number;
}

/** Undefined for a number that would take too many remainders. @param step above 0 */
export function multiplesOf(step: number): Multiples | undefined {
  const { whole, fraction } = decimal(step);
  // In units of the last place.
  const units = (whole + fraction).replace(/^0+/, "");
  const places = fraction.length;
  const zeros = places === 0 ? /0*$/.exec(units)![0].length : 0;
  const divisor = Number(units.slice(0, units.length - zeros));
  if (divisor > MOST_REMAINDERS) return undefined;
  const unsigned = sequence(call(remainders(divisor, places)), repeat(literal("0"), zeros, zeros));
  return {
    expression: sequence(
      optional(literal("-")),
      choice(unsigned, zeros > 0 ? literal("0") : NOTHING),
    ),
    places,
  };
}

/** Texts of digits, with up to so many places, that divide without a remainder as a number of such units. */
function remainders(divisor: number, places: number): Rule {
  const rules = new Map<string, Rule>();
  /** @param place digits behind the point so far; -1 before it */
  const behind = (remainder: number, place: number): Rule => {
    const key = `${remainder} ${place}`;
    const known = rules.get(key);
    if (known !== undefined) return known;
    const made = rule("remainder");
    rules.set(key, made);
    const digits = Array.from({ length: place === places ? 0 : 10 }, (_, digit) =>
      sequence(
        character([0x30 + digit, 0x30 + digit]),
        call(behind((10 * remainder + digit) % divisor, place === -1 ? -1 : place + 1)),
      ),
    );
    const missing = places - Math.max(0, place);
    const divides = place !== 0 && (remainder * 10 ** missing) % divisor === 0;
    const point = place === -1 && places > 0;
    made.body = choice(
      ...digits,
      point ? sequence(literal("."), call(behind(remainder, 0))) : NOTHING,
      divides ? EMPTY : NOTHING,
    );
    return made;
  };
  return behind(0, -1);
}
