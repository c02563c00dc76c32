// A JSON schema as an expression. Whatever fits the expression is valid; of what is valid, answers are
// those that a schema describes on purpose (docs/generation.md says which).

import { type Fault, TunesmithError } from "../../errors.ts";
import { isJsonObject, type JsonObject } from "../../hub/json-file.ts";
import {
  call,
  choice,
  EMPTY,
  type Expression,
  literal,
  NOTHING,
  type Rule,
  repeat,
  rule,
  sequence,
} from "./expression.ts";
import { integersBetween, type NumberBounds, numbersBetween } from "./json-numbers.ts";
import { objectExpression } from "./json-objects.ts";
import {
  ANY_OF_TYPE,
  ANY_VALUE,
  COMMA,
  exactly,
  inString,
  joined,
  list,
  quoted,
  stringOfLength,
} from "./json-text.ts";
import { regexExpression } from "./regex.ts";
import { areDisjoint } from "./schema-disjoint.ts";
import { ANNOTATIONS, type JsonSchema, keywordFaults, TYPE_KEYWORDS } from "./schema-keywords.ts";
import { mergeSchemas } from "./schema-merge.ts";
import { STRING_FORMATS } from "./string-formats.ts";

export type { JsonSchema } from "./schema-keywords.ts";

/**
 * @param where the schema's file or option, for errors; the place in the schema follows it
 * @throws TunesmithError (config) with everything that is wrong in the schema, and every keyword that
 *   answers cannot be held to
 */
export function schemaExpression(schema: JsonSchema, where: string): Expression {
  const faults: Fault[] = [];
  const places = new Map<object, string>();
  notePlaces(schema, "#", places);
  const rules = new Map<object, Rule>();
  const placeOf = (part: unknown) => `${where}${places.get(part as object) ?? "#"}`;

  const fault = (schema: JsonSchema, keyword: string, rule: string, seen: string, fix: string) => {
    faults.push({ where: `${placeOf(schema)}/${keyword}`, rule, seen, fix });
    return NOTHING;
  };

  /** Every schema is a rule, so that one may mention itself. */
  const of = (part: JsonSchema): Expression => {
    if (typeof part === "boolean") return part ? ANY_VALUE : NOTHING;
    const known = rules.get(part);
    if (known) return call(known);
    if (rules.size > MOST_SCHEMAS)
      return fault(
        part,
        "allOf",
        `schemas joined make at most ${MOST_SCHEMAS}`,
        "more",
        "let recursive schemas not overlap in allOf",
      );
    const made = rule(places.get(part) ?? "#");
    rules.set(part, made);
    const { $ref, ...beside } = part;
    made.body =
      $ref !== undefined && isSilent(beside) && isSound(part)
        ? of(resolve(part, $ref as string))
        : plain(withoutReferences(part, new Set()));
    return call(made);
  };

  /** Whether a schema's own keywords are as they should be; says so where they are not. */
  const isSound = (part: JsonObject): boolean => {
    const found = keywordFaults(part, placeOf(part));
    faults.push(...found);
    return found.length === 0;
  };

  /** A schema without $ref and allOf that says the same; its place stays that of the original. */
  const withoutReferences = (part: JsonSchema, within: Set<unknown>): JsonSchema => {
    if (typeof part === "boolean") return part;
    if (!isSound(part)) return false;
    const { $ref, allOf = [], ...own } = part;
    if ($ref === undefined && !("allOf" in part)) return part;
    if (within.has(part)) {
      fault(
        part,
        $ref === undefined ? "allOf" : "$ref",
        "a schema does not consist of itself",
        String($ref ?? "allOf"),
        "let it mention itself within a property or an item",
      );
      return false;
    }
    const target = $ref === undefined ? true : resolve(part, $ref as string);
    let merged: JsonSchema = own;
    for (const each of [target, ...(allOf as JsonSchema[])])
      merged = joint(part, merged, withoutReferences(each, new Set([...within, part])));
    return merged;
  };
  const joint = (part: JsonObject, left: JsonSchema, right: JsonSchema): JsonSchema => {
    if (left === false || right === false) return false;
    if (right === true) return left;
    if (left === true) return right;
    const merged = mergeSchemas(left, right);
    if (typeof merged === "string") {
      fault(
        part,
        merged,
        "what holds together can be said in one schema",
        `two of ${merged} that no single one replaces`,
        "write one schema that says both",
      );
      return false;
    }
    places.set(merged, places.get(part) ?? "#");
    return merged;
  };
  const resolve = (part: JsonObject, reference: string): JsonSchema => {
    let at: unknown = schema;
    for (const step of reference.split("/").slice(1)) {
      const key = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
      at =
        typeof at === "object" && at !== null && Object.hasOwn(at, key)
          ? (at as JsonObject)[key]
          : undefined;
    }
    if (isJsonObject(at) || typeof at === "boolean") return at;
    fault(
      part,
      "$ref",
      "a reference leads to a schema",
      reference,
      "correct it, or define it under $defs",
    );
    return false;
  };

  const plain = (part: JsonSchema): Expression => {
    if (typeof part === "boolean") return of(part);
    const { anyOf, oneOf, ...rest } = part;
    if (anyOf !== undefined && oneOf !== undefined)
      return fault(
        part,
        "oneOf",
        "anyOf and oneOf do not stand together",
        "both",
        "write one list of all cases",
      );
    const options = (anyOf ?? oneOf) as JsonSchema[] | undefined;
    if (options === undefined) return byValue(part);
    const bare = isSilent(rest);
    const cases = options.map((option) => {
      if (bare) return option;
      const merged = joint(part, rest, withoutReferences(option, new Set()));
      if (isJsonObject(merged))
        places.set(merged, places.get(option as object) ?? places.get(part)!);
      return merged;
    });
    if (
      oneOf !== undefined &&
      !areDisjoint(cases.map((each) => withoutReferences(each, new Set())))
    )
      return fault(
        part,
        "oneOf",
        "cases of oneOf exclude each other by type, or by a required property with const or enum",
        "cases that may both hold",
        "write anyOf, or give each case such a property",
      );
    return choice(...cases.map(of));
  };

  const byValue = (part: JsonObject): Expression => {
    const types = typesOf(part);
    if (!("enum" in part) && !("const" in part))
      return types === undefined ? ANY_VALUE : choice(...types.map((type) => BY_TYPE[type]!(part)));
    const beside = Object.values(TYPE_KEYWORDS)
      .flatMap(Object.keys)
      .find((keyword) => keyword in part);
    if (beside !== undefined)
      return fault(
        part,
        beside,
        "beside enum and const stands no keyword but type",
        beside,
        "leave out the values that do not fit, and the keyword",
      );
    const listed = "enum" in part ? (part.enum as unknown[]) : [part.const];
    const values = listed.filter(
      (value) =>
        (types === undefined || types.some((type) => isOfType(value, type))) &&
        (!("const" in part) || JSON.stringify(value) === JSON.stringify(part.const)),
    );
    if (values.length === 0)
      return fault(
        part,
        "enum" in part ? "enum" : "const",
        "some value is of the schema's type",
        JSON.stringify(listed).slice(0, 80),
        "correct the type or the values",
      );
    return choice(...values.map(exactly));
  };

  const BY_TYPE: Readonly<Record<string, (part: JsonObject) => Expression>> = {
    object(part) {
      const named = (part.properties ?? {}) as Record<string, JsonSchema>;
      const required = new Set((part.required ?? []) as string[]);
      const others = part.additionalProperties as JsonSchema | undefined;
      const unnamed = [...required].filter((name) => !Object.hasOwn(named, name));
      // Without properties an object is any; with them, others come where the schema speaks of them.
      const besides = others ?? ("properties" in part ? undefined : true);
      if (Object.keys(named).length + required.size === 0 && besides === true)
        return ANY_OF_TYPE.object;
      return objectExpression({
        properties: [
          ...Object.entries(named).map(([name, value]) => ({
            name,
            value: of(value),
            required: required.has(name),
          })),
          ...unnamed.map((name) => ({ name, value: of(others ?? true), required: true })),
        ],
        others: besides === undefined || besides === false ? undefined : of(besides),
      });
    },
    array(part) {
      const first = ((part.prefixItems ?? []) as JsonSchema[]).map(of);
      const least = (part.minItems ?? 0) as number;
      const most = (part.maxItems ?? Number.POSITIVE_INFINITY) as number;
      if (least > most)
        return fault(
          part,
          "minItems",
          "minItems is at most maxItems",
          `${least} and ${most}`,
          "correct one of them",
        );
      // Behind prefixItems nothing comes unless items says so, or minItems asks for it.
      const silent = first.length > 0 && part.items === undefined && least <= first.length;
      const item = of((part.items ?? true) as JsonSchema);
      const prefix = first.slice(0, most);
      const more = silent ? 0 : most - prefix.length;
      const fewest = Math.max(0, least - prefix.length);
      if (prefix.length > 0)
        return list(
          "[",
          sequence(joined(prefix), repeat(sequence(COMMA, item), Math.min(fewest, more), more)),
          "]",
        );
      const empty = least === 0 ? literal("[]") : NOTHING;
      if (more === 0) return empty;
      return choice(
        empty,
        list(
          "[",
          sequence(item, repeat(sequence(COMMA, item), Math.max(0, fewest - 1), more - 1)),
          "]",
        ),
      );
    },
    string(part) {
      const { minLength, maxLength, pattern, format } = part;
      const lengths = minLength !== undefined || maxLength !== undefined;
      if (Number(lengths) + Number(pattern !== undefined) + Number(format !== undefined) > 1)
        return fault(
          part,
          pattern === undefined ? "format" : "pattern",
          "of lengths, pattern and format one stands alone",
          "several of them",
          "write the lengths into the pattern, {2,40} for instance",
        );
      const options = { where: `${placeOf(part)}/pattern`, write: inString };
      if (pattern !== undefined)
        return quoted(
          tried(() => regexExpression(pattern as string, { ...options, searches: true })),
        );
      if (format !== undefined)
        return quoted(regexExpression(STRING_FORMATS[format as string]!, options));
      const [least, most] = [
        (minLength ?? 0) as number,
        (maxLength ?? Number.POSITIVE_INFINITY) as number,
      ];
      if (least > most)
        return fault(
          part,
          "minLength",
          "minLength is at most maxLength",
          `${least} and ${most}`,
          "correct one of them",
        );
      return lengths ? stringOfLength(least, most) : ANY_OF_TYPE.string;
    },
    integer: (part) => integersBetween(part as NumberBounds),
    number: (part) => numbersBetween(part as NumberBounds),
    boolean: () => ANY_OF_TYPE.boolean,
    null: () => ANY_OF_TYPE.null,
  };
  const tried = (make: () => Expression): Expression => {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof TunesmithError)) throw error;
      faults.push(...error.faults);
      return EMPTY;
    }
  };

  const expression = of(schema);
  if (faults.length === 0) return expression;
  const distinct = new Map(faults.map((each) => [`${each.where} ${each.rule}`, each]));
  throw new TunesmithError("config", [...distinct.values()]);
}

/** Schemas that a schema may come to when allOf and $ref are joined. */
const MOST_SCHEMAS = 10_000;

/** Whether every value is valid as far as these keywords say. */
const isSilent = (part: JsonObject): boolean =>
  Object.keys(part).every((keyword) => ANNOTATIONS.has(keyword));

/** The types that a schema names, or that its keywords are about; undefined where it names none. */
function typesOf(part: JsonObject): string[] | undefined {
  if (part.type !== undefined) {
    const types = [part.type as string | string[]].flat();
    return types.includes("number") ? types.filter((type) => type !== "integer") : types;
  }
  const spoken = Object.entries(TYPE_KEYWORDS).filter(([, keywords]) =>
    Object.keys(keywords).some((keyword) => keyword in part),
  );
  return spoken.length > 0 ? spoken.map(([type]) => type) : undefined;
}

function isOfType(value: unknown, type: string): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isJsonObject(value);
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}

/** Where each schema lies, as a JSON pointer. */
function notePlaces(value: unknown, place: string, places: Map<object, string>): void {
  if (typeof value !== "object" || value === null || places.has(value)) return;
  places.set(value, place);
  for (const [key, each] of Object.entries(value))
    notePlaces(each, `${place}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`, places);
}
