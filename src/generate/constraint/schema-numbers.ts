// Numbers and integers of a schema: between bounds, and multiples of a number.

import type { JsonObject } from "../../hub/json-file.ts";
import { type Expression, NOTHING } from "./expression.ts";
import { multiplesOf } from "./json-multiples.ts";
import {
  EXACT_DIGITS,
  integersBetween,
  type NumberBounds,
  numbersBetween,
} from "./json-numbers.ts";
import { both } from "./regular.ts";
import type { SchemaReader, TypeReader } from "./schema-reader.ts";

export const readInteger: TypeReader = (part, reader) =>
  multiplesAmong(integersBetween, part, reader);

export const readNumber: TypeReader = (part, reader) =>
  multiplesAmong(numbersBetween, part, reader);

function multiplesAmong(
  between: (bounds: NumberBounds) => Expression,
  part: JsonObject,
  { faults }: SchemaReader,
): Expression {
  const { multipleOf, ...bounds } = part as NumberBounds & { multipleOf?: number };
  if (multipleOf === undefined) return between(bounds);
  const multiples = multiplesOf(multipleOf);
  if (multiples === undefined) {
    faults.note(
      part,
      "multipleOf",
      "multiples can be told by the remainders of their digits, of which there are few",
      String(multipleOf),
      "take it out and check the answer, or list the values in enum",
    );
    return NOTHING;
  }
  return faults.caught(
    () =>
      both(
        between(exactWith(multiples.places, bounds)),
        multiples.expression,
        faults.placeOf(part),
      ),
    NOTHING,
  );
}

/** Bounds within which a double holds numbers of so many places exactly enough to be told apart. */
function exactWith(places: number, bounds: NumberBounds): NumberBounds {
  const farthest = 10 ** (EXACT_DIGITS - places) - 1;
  return {
    ...bounds,
    minimum: Math.max(bounds.minimum ?? -farthest, -farthest),
    maximum: Math.min(bounds.maximum ?? farthest, farthest),
  };
}
