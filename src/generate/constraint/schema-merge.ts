// Two schemas that both hold, as one: what allOf, and keywords beside $ref or anyOf, come to.

import { isDeepStrictEqual } from "node:util";
import { isJsonObject, type JsonObject } from "../../hub/json-file.ts";
import { ANNOTATIONS } from "./schema-keywords.ts";

/** A value of one keyword for those of two schemas, or undefined where no such value says both. */
type Merge = (a: never, b: never, left: JsonObject, right: JsonObject) => unknown;

const equal: Merge = (a, b) => (isDeepStrictEqual(a, b) ? a : undefined);
const larger = (a: number, b: number) => Math.max(a, b);
const smaller = (a: number, b: number) => Math.min(a, b);
const both = (a: unknown, b: unknown) => ({ allOf: [a, b] });

/** Schemas by name, or by pattern. */
function propertyMaps(a: JsonObject, b: JsonObject): JsonObject {
  const shared = Object.keys(b).filter((name) => Object.hasOwn(a, name));
  const joined = shared.map((name) => [name, both(a[name], b[name])]);
  return { ...a, ...b, ...Object.fromEntries(joined) };
}

const MERGES: Readonly<Record<string, Merge>> = {
  type(a: string | string[], b: string | string[]) {
    const [left, right] = [[a].flat(), [b].flat()];
    const kept = left.flatMap((type) => {
      if (right.includes(type)) return [type];
      if (type === "number" && right.includes("integer")) return ["integer"];
      return type === "integer" && right.includes("number") ? ["integer"] : [];
    });
    return kept.length > 0 ? kept : undefined;
  },
  enum(a: unknown[], b: unknown[]) {
    const kept = a.filter((value) => b.some((other) => isDeepStrictEqual(value, other)));
    return kept.length > 0 ? kept : undefined;
  },
  required: (a: string[], b: string[]) => [...new Set([...a, ...b])],
  properties: propertyMaps,
  patternProperties: propertyMaps,
  items: both,
  prefixItems: (a: unknown[]) => a, // made below, of what both say
  minimum: larger,
  exclusiveMinimum: larger,
  minLength: larger,
  minItems: larger,
  minProperties: larger,
  maximum: smaller,
  exclusiveMaximum: smaller,
  maxLength: smaller,
  maxItems: smaller,
  maxProperties: smaller,
  multipleOf: (a: number, b: number) => [a, b].find((step) => step % a === 0 && step % b === 0),
} satisfies Record<string, (a: never, b: never) => unknown>;

/** The schema that both make, or the keyword that says two things that are not one. */
export function mergeSchemas(left: JsonObject, right: JsonObject): JsonObject | string {
  const merged: JsonObject = {};
  for (const keyword of new Set([...Object.keys(left), ...Object.keys(right)])) {
    if (ANNOTATIONS.has(keyword)) continue;
    const inBoth = Object.hasOwn(left, keyword) && Object.hasOwn(right, keyword);
    const merge = MERGES[keyword] ?? equal;
    const value = inBoth
      ? merge(left[keyword] as never, right[keyword] as never, left, right)
      : (left[keyword] ?? right[keyword]);
    if (value === undefined) return keyword;
    merged[keyword] = value;
  }
  if ("prefixItems" in left || "prefixItems" in right)
    merged.prefixItems = bothPrefixes(left, right);
  // What one allows besides its own properties must allow the other's.
  if (closes(left, right) || closes(right, left)) return "additionalProperties";
  return merged;
}

/** First items as both describe them: each by its place, or with those behind. */
function bothPrefixes(left: JsonObject, right: JsonObject): unknown[] {
  const [ofLeft, ofRight] = [left, right].map(({ prefixItems, items = true }) => {
    const first = (prefixItems ?? []) as unknown[];
    return { length: first.length, at: (place: number) => first[place] ?? items };
  }) as [PrefixItems, PrefixItems];
  return Array.from({ length: Math.max(ofLeft.length, ofRight.length) }, (_, place) =>
    both(ofLeft.at(place), ofRight.at(place)),
  );
}

interface PrefixItems {
  readonly length: number;
  /** The schema of the item at a place, whichever keyword says it. */
  at(place: number): unknown;
}

/** Whether `schema` says of a property of `other` only what it says of those it does not name. */
function closes(schema: JsonObject, other: JsonObject): boolean {
  const { additionalProperties } = schema;
  if (additionalProperties === undefined || additionalProperties === true) return false;
  return ["properties", "patternProperties"].some((keyword) => {
    const [own, others] = [schema, other].map(({ [keyword]: map }) =>
      isJsonObject(map) ? Object.keys(map) : [],
    ) as [string[], string[]];
    return others.some((name) => !own.includes(name));
  });
}
