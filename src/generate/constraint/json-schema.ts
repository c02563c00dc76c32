// A JSON schema as an expression. Whatever fits the expression is valid; of what is valid, answers are
// those that a schema describes on purpose (docs/generation.md says which).

import type { JsonObject } from "../../hub/json-file.ts";
import { call, choice, type Expression, NOTHING, type Rule, rule } from "./expression.ts";
import { ANY_OF_TYPE, ANY_VALUE } from "./json-text.ts";
import { readArray } from "./schema-arrays.ts";
import { areDisjoint } from "./schema-disjoint.ts";
import { createSchemaFaults } from "./schema-faults.ts";
import { ANNOTATIONS, type JsonSchema, TYPE_KEYWORDS } from "./schema-keywords.ts";
import { readInteger, readNumber } from "./schema-numbers.ts";
import { readObject } from "./schema-objects.ts";
import type { SchemaReader, TypeReader } from "./schema-reader.ts";
import { createReferences } from "./schema-references.ts";
import { readString } from "./schema-strings.ts";
import { listedValues } from "./schema-values.ts";

export type { JsonSchema } from "./schema-keywords.ts";

const BY_TYPE: Readonly<Record<string, TypeReader>> = {
  object: readObject,
  array: readArray,
  string: readString,
  integer: readInteger,
  number: readNumber,
  boolean: () => ANY_OF_TYPE.boolean,
  null: () => ANY_OF_TYPE.null,
};

/** Schemas that a schema may come to when allOf and $ref are joined. */
const MOST_SCHEMAS = 10_000;

/**
 * @param where the schema's file or option, for errors; the place in the schema follows it
 * @throws TunesmithError (config) with everything that is wrong in the schema, and every keyword that
 *   answers cannot be held to
 */
export function schemaExpression(schema: JsonSchema, where: string): Expression {
  const faults = createSchemaFaults(schema, where);
  const { isSound, resolve, flat, joint } = createReferences(schema, faults);
  const rules = new Map<object, Rule>();

  const fault = (...about: Parameters<typeof faults.note>): Expression => {
    faults.note(...about);
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
    const made = rule(faults.placeOf(part));
    rules.set(part, made);
    const { $ref, ...beside } = part;
    made.body =
      $ref !== undefined && isSilent(beside) && isSound(part)
        ? of(resolve(part, $ref as string))
        : byCases(flat(part));
    return call(made);
  };
  const ofAll = (within: JsonObject, parts: readonly JsonSchema[]): Expression => {
    if (parts.length === 1) return of(parts[0]!);
    const allOf: JsonObject = { allOf: parts };
    faults.locate(allOf, within);
    return of(allOf);
  };
  const reader: SchemaReader = { faults, of, ofAll };

  const byCases = (part: JsonSchema): Expression => {
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
    const cases = options.map((option) => {
      if (isSilent(rest)) return option;
      const merged = joint(part, rest, flat(option));
      faults.locate(merged, typeof option === "boolean" ? part : option);
      return merged;
    });
    if (oneOf !== undefined && !areDisjoint(cases.map(flat)))
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
    if ("enum" in part || "const" in part) return listedValues(part, types, faults);
    return types === undefined
      ? ANY_VALUE
      : choice(...types.map((type) => BY_TYPE[type]!(part, reader)));
  };

  const expression = of(schema);
  faults.throwAny();
  return expression;
}

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
