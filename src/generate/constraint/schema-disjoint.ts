// Whether no value fits two of several schemas: then exactly one of them and any of them are the same.

import { isJsonObject } from "../../hub/json-file.ts";
import type { JsonSchema } from "./schema-keywords.ts";

/** True only where types, values, or a property that all require tell every two of them apart. */
export function areDisjoint(schemas: readonly JsonSchema[]): boolean {
  return schemas.every((a, i) => schemas.slice(i + 1).every((b) => areApart(a, b)));
}

function areApart(a: JsonSchema, b: JsonSchema): boolean {
  if (a === false || b === false) return true;
  if (a === true || b === true) return false;
  const [ofA, ofB] = [valuesOf(a), valuesOf(b)];
  if (ofA && ofB) return ofA.every((value) => !ofB.includes(value));
  const [typesA, typesB] = [typesOf(a), typesOf(b)];
  if (typesA && typesB && typesA.every((type) => !typesB.includes(type))) return true;
  // A property that tells them apart does so only among objects.
  const objects = [typesA, typesB].every((types) => types?.join() === "object");
  const [required, alsoRequired] = [a.required ?? [], b.required ?? []] as string[][];
  return (
    objects &&
    required!
      .filter((name) => alsoRequired!.includes(name))
      .some((name) => areApart(propertyOf(a.properties, name), propertyOf(b.properties, name)))
  );
}

const propertyOf = (properties: unknown, name: string): JsonSchema =>
  isJsonObject(properties) && isJsonObject(properties[name]) ? properties[name] : true;

/** The values of enum or const, as JSON. */
function valuesOf(schema: Exclude<JsonSchema, boolean>): string[] | undefined {
  if ("const" in schema) return [JSON.stringify(schema.const)];
  return Array.isArray(schema.enum) ? schema.enum.map((value) => JSON.stringify(value)) : undefined;
}

/** Types by name; an integer is a number. */
function typesOf({ type }: Exclude<JsonSchema, boolean>): unknown[] | undefined {
  if (type === undefined) return undefined;
  return [type].flat().map((name) => (name === "integer" ? "number" : name));
}
