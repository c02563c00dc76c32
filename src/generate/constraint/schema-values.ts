// Values that a schema lists, in `enum` or `const`.

import { isJsonObject, type JsonObject } from "../../hub/json-file.ts";
import { choice, type Expression, NOTHING } from "./expression.ts";
import { exactly } from "./json-text.ts";
import type { SchemaFaults } from "./schema-faults.ts";
import { TYPE_KEYWORDS } from "./schema-keywords.ts";

/** @param types that the values may be of; undefined for any */
export function listedValues(
  part: JsonObject,
  types: readonly string[] | undefined,
  faults: SchemaFaults,
): Expression {
  const beside = Object.values(TYPE_KEYWORDS)
    .flatMap(Object.keys)
    .find((keyword) => keyword in part);
  if (beside !== undefined) {
    faults.note(
      part,
      beside,
      "beside enum and const stands no keyword but type",
      beside,
      "leave out the values that do not fit, and the keyword",
    );
    return NOTHING;
  }
  const listed = "enum" in part ? (part.enum as unknown[]) : [part.const];
  const values = listed.filter(
    (value) =>
      (types === undefined || types.some((type) => isOfType(value, type))) &&
      (!("const" in part) || JSON.stringify(value) === JSON.stringify(part.const)),
  );
  if (values.length > 0) return choice(...values.map(exactly));
  faults.note(
    part,
    "enum" in part ? "enum" : "const",
    "some value is of the schema's type",
    JSON.stringify(listed).slice(0, 80),
    "correct the type or the values",
  );
  return NOTHING;
}

function isOfType(value: unknown, type: string): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isJsonObject(value);
  if (type === "integer") return Number.isInteger(value);
  return typeof value === type;
}
