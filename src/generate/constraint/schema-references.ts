// Schemas without `$ref` and `allOf`: what they refer to and what holds beside it, in one schema.

import { isJsonObject, type JsonObject } from "../../hub/json-file.ts";
import type { SchemaFaults } from "./schema-faults.ts";
import { type JsonSchema, keywordFaults } from "./schema-keywords.ts";
import { mergeSchemas } from "./schema-merge.ts";

export interface SchemaReferences {
  /** Whether a schema's own keywords are as they should be; notes where they are not. */
  isSound(part: JsonObject): boolean;
  /** The schema that a reference leads to; `false` where there is none, which is noted. */
  resolve(part: JsonObject, reference: string): JsonSchema;
  /** A schema without references that says the same; it is told by the place of the original. */
  flat(part: JsonSchema): JsonSchema;
  /** Two flat schemas that both hold as one. @param part for faults: where both are said */
  joint(part: JsonObject, left: JsonSchema, right: JsonSchema): JsonSchema;
}

export function createReferences(schema: JsonSchema, faults: SchemaFaults): SchemaReferences {
  const isSound = (part: JsonObject): boolean => {
    const found = keywordFaults(part, faults.placeOf(part));
    faults.add(...found);
    return found.length === 0;
  };

  const resolve = (part: JsonObject, reference: string): JsonSchema => {
    let at: unknown = schema;
    for (const step of reference.split("/").slice(1)) {
      const key = decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~");
      const isThere = typeof at === "object" && at !== null && Object.hasOwn(at, key);
      at = isThere ? (at as JsonObject)[key] : undefined;
    }
    if (isJsonObject(at) || typeof at === "boolean") return at;
    const fix = "correct it, or define it under $defs";
    faults.note(part, "$ref", "a reference leads to a schema", reference, fix);
    return false;
  };

  const joint = (part: JsonObject, left: JsonSchema, right: JsonSchema): JsonSchema => {
    if (left === false || right === false) return false;
    if (right === true) return left;
    if (left === true) return right;
    const merged = mergeSchemas(left, right);
    if (typeof merged === "string") {
      faults.note(
        part,
        merged,
        "what holds together can be said in one schema",
        `two of ${merged} that no single one replaces`,
        "write one schema that says both",
      );
      return false;
    }
    faults.locate(merged, part);
    return merged;
  };

  /** @param within the schemas that are being made flat: none consists of itself */
  const flatWithin = (part: JsonSchema, within: ReadonlySet<unknown>): JsonSchema => {
    if (typeof part === "boolean") return part;
    if (!isSound(part)) return false;
    const { $ref, allOf = [], ...own } = part;
    if ($ref === undefined && !("allOf" in part)) return part;
    if (within.has(part)) {
      faults.note(
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
      merged = joint(part, merged, flatWithin(each, new Set([...within, part])));
    return merged;
  };

  return { isSound, resolve, joint, flat: (part) => flatWithin(part, new Set()) };
}
