// Numbers between bounds, digit by digit. Integers stay where a double holds them exactly; decimals
// between bounds have no exponent, and as few digits as tell every one of them from the bounds.

import { decimal } from "./decimal.ts";
import {
  character,
  choice,
  EMPTY,
  type Expression,
  literal,
  NOTHING,
  optional,
  repeat,
  sequence,
} from "./expression.ts";

/** Bounds as JSON Schema has them; each may be left out. */
export interface NumberBounds {
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly exclusiveMaximum?: number;
}

/** Decimal digits that a double always keeps apart. */
export const EXACT_DIGITS = 15;

const digits = (low: number, high: number): Expression => character([0x30 + low, 0x30 + high]);
const DIGIT = digits(0, 9);
const NO_MORE_DIGITS: Expression = NOTHING;

const UNBOUNDED: Expression = sequence(
  optional(literal("-")),
  choice(literal("0"), sequence(digits(1, 9), repeat(DIGIT, 0, EXACT_DIGITS - 1))),
  optional(sequence(literal("."), repeat(DIGIT, 1, EXACT_DIGITS))),
  optional(
    sequence(
      character([0x65, 0x65], [0x45, 0x45]),
      optional(character([0x2b, 0x2b], [0x2d, 0x2d])),
      repeat(DIGIT, 1, 2),
    ),
  ),
);

/** Integers within the bounds; NOTHING where there is none that a double holds exactly. */
export function integersBetween(bounds: NumberBounds): Expression {
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = bounds;
  const least = Math.max(
    Math.ceil(minimum ?? -Infinity),
    Math.floor(exclusiveMinimum ?? -Infinity) + 1,
    Number.MIN_SAFE_INTEGER,
  );
  const most = Math.min(
    Math.floor(maximum ?? Infinity),
    Math.ceil(exclusiveMaximum ?? Infinity) - 1,
    Number.MAX_SAFE_INTEGER,
  );
  return choice(
    most >= 0 ? wholes(BigInt(Math.max(least, 0)), BigInt(most)) : NOTHING,
    least < 0
      ? sequence(literal("-"), wholes(BigInt(Math.max(-most, 1)), BigInt(-least)))
      : NOTHING,
  );
}

/** Numbers within the bounds. */
export function numbersBetween(bounds: NumberBounds): Expression {
  const least = stricter(bounds.minimum, bounds.exclusiveMinimum, Math.max);
  const most = stricter(bounds.maximum, bounds.exclusiveMaximum, Math.min);
  if (least === undefined && most === undefined) return UNBOUNDED;
  const longest = Math.max(
    ...[least, most].map((bound) => (bound ? decimal(Math.abs(bound.value)).whole.length : 0)),
  );
  const places = Math.max(0, EXACT_DIGITS - longest);
  const zero = { value: 0, exclusive: false };
  const mirrored = (bound: Bound | undefined) => bound && { ...bound, value: -bound.value };
  return choice(
    most === undefined || most.value >= 0
      ? decimals(least && least.value >= 0 ? least : zero, most, places)
      : NOTHING,
    least === undefined || least.value < 0
      ? sequence(
          literal("-"),
          decimals(most && most.value <= 0 ? mirrored(most)! : zero, mirrored(least), places),
        )
      : NOTHING,
  );
}

interface Bound {
  readonly value: number;
  readonly exclusive: boolean;
}

/** The tighter of an inclusive and an exclusive bound. */
function stricter(
  inclusive: number | undefined,
  exclusive: number | undefined,
  tighter: (a: number, b: number) => number,
): Bound | undefined {
  if (exclusive === undefined)
    return inclusive === undefined ? undefined : { value: inclusive, exclusive: false };
  const value = tighter(inclusive ?? exclusive, exclusive);
  return { value, exclusive: value === exclusive };
}

/** Whole numbers from `least` to `most`, neither below 0. */
function wholes(least: bigint, most: bigint): Expression {
  if (least > most) return NOTHING;
  const [from, to] = [String(least), String(most)];
  const options: Expression[] = [];
  for (let length = from.length; length <= to.length; length++)
    options.push(
      sameLength(
        length === from.length ? from : `1${"0".repeat(length - 1)}`,
        length === to.length ? to : "9".repeat(length),
      ),
    );
  return choice(...options);
}

/** Digits between two texts of digits of one length. */
function sameLength(from: string, to: string): Expression {
  if (from === to) return literal(from);
  if (/^0*$/.test(from) && /^9*$/.test(to)) return repeat(DIGIT, from.length, from.length);
  const [low, high] = [Number(from[0]), Number(to[0])];
  const rest = from.length - 1;
  if (low === high) return sequence(literal(from[0]!), sameLength(from.slice(1), to.slice(1)));
  return choice(
    sequence(literal(from[0]!), sameLength(from.slice(1), "9".repeat(rest))),
    low + 1 < high ? sequence(digits(low + 1, high - 1), repeat(DIGIT, rest, rest)) : NOTHING,
    sequence(literal(to[0]!), sameLength("0".repeat(rest), to.slice(1))),
  );
}

/** Decimals from `least` (not below 0) to `most`, with so many places at most. */
function decimals(least: Bound, most: Bound | undefined, places: number): Expression {
  if (most !== undefined && least.value > most.value) return NOTHING;
  const low = decimal(least.value);
  const lowest: Rest = { digits: low.fraction, exclusive: least.exclusive };
  if (most === undefined)
    return choice(
      sequence(literal(low.whole), fraction(lowest, undefined, places)),
      sequence(
        wholes(BigInt(low.whole) + 1n, 10n ** BigInt(EXACT_DIGITS) - 1n),
        fraction(undefined, undefined, places),
      ),
    );
  const high = decimal(most.value);
  const highest: Rest = { digits: high.fraction, exclusive: most.exclusive };
  if (low.whole === high.whole)
    return sequence(literal(low.whole), fraction(lowest, highest, places));
  return choice(
    sequence(literal(low.whole), fraction(lowest, undefined, places)),
    sequence(
      wholes(BigInt(low.whole) + 1n, BigInt(high.whole) - 1n),
      fraction(undefined, undefined, places),
    ),
    sequence(literal(high.whole), fraction(undefined, highest, places)),
  );
}

/** What is left of a bound behind the digits read so far. */
interface Rest {
  readonly digits: string;
  readonly exclusive: boolean;
}

/** Nothing, or a point and places, such that what they stand for lies within the bounds. */
function fraction(low: Rest | undefined, high: Rest | undefined, places: number): Expression {
  return choice(
    mayEnd(low, high) ? EMPTY : NOTHING,
    sequence(literal("."), morePlaces(low, high, places)),
  );
}

/** One place and those behind it. */
function morePlaces(low: Rest | undefined, high: Rest | undefined, places: number): Expression {
  if (places === 0) return NO_MORE_DIGITS;
  if (low === undefined && high === undefined) return repeat(DIGIT, 1, places);
  const first = Number(low?.digits[0] ?? 0);
  const last = high ? Number(high.digits[0] ?? 0) : 9;
  const options: Expression[] = [];
  for (let digit = first; digit <= last; digit++) {
    const [lower, higher] = [
      digit === first ? behind(low) : undefined,
      digit === last ? behind(high) : undefined,
    ];
    const more = morePlaces(lower, higher, places - 1);
    options.push(sequence(digits(digit, digit), mayEnd(lower, higher) ? optional(more) : more));
  }
  return choice(...options);
}

const behind = (rest: Rest | undefined): Rest | undefined =>
  rest && { ...rest, digits: rest.digits.slice(1) };

/** Whether zeros from here on lie within the bounds. */
function mayEnd(low: Rest | undefined, high: Rest | undefined): boolean {
  const isZero = (rest: Rest) => /^0*$/.test(rest.digits);
  return (
    (low === undefined || (isZero(low) && !low.exclusive)) &&
    (high === undefined || !(isZero(high) && high.exclusive))
  );
}
