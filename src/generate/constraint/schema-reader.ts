// What the readers of single types ask of the whole: schemas within, and where to tell what is wrong.

import type { JsonObject } from "../../hub/json-file.ts";
import type { Expression } from "./expression.ts";
import type { SchemaFaults } from "./schema-faults.ts";
import type { JsonSchema } from "./schema-keywords.ts";

export interface SchemaReader {
  readonly faults: SchemaFaults;
  /** What fits a schema. */
  of(part: JsonSchema): Expression;
  /** What fits several schemas at once. @param within for faults: where they are said */
  ofAll(within: JsonObject, parts: readonly JsonSchema[]): Expression;
}

/** The values of one type that fit a schema, as text. */
export type TypeReader = (part: JsonObject, reader: SchemaReader) => Expression;
