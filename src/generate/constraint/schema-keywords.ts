// The keywords of JSON Schema that an answer can be held to, what each must hold, and those that are
// refused. None is ignored that would say which values are valid.

import { type Fault, nearest } from "../../errors.ts";
import { isJsonObject, type JsonObject } from "../../hub/json-file.ts";
import { STRING_FORMATS } from "./string-formats.ts";

/** A schema of JSON Schema's draft 2020-12, or of an earlier one as far as they agree. */
export type JsonSchema = JsonObject | boolean;

export const TYPE_NAMES = ["object", "array", "string", "number", "integer", "boolean", "null"];

const isCount = (value: unknown) => Number.isInteger(value) && (value as number) >= 0;
const isNumber = (value: unknown) => typeof value === "number" && Number.isFinite(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isSchema = (value: unknown) => isJsonObject(value) || typeof value === "boolean";
const isSchemaList = (value: unknown) =>
  Array.isArray(value) && value.length > 0 && value.every(isSchema);
const isSchemaMap = (value: unknown) => isJsonObject(value) && Object.values(value).every(isSchema);
const isType = (value: unknown) => isText(value) && TYPE_NAMES.includes(value);

const RULES = {
  count: ["a whole number of at least 0", isCount],
  number: ["a number", isNumber],
  step: ["a number above 0", (value: unknown) => isNumber(value) && (value as number) > 0],
  text: ["a text", isText],
  texts: ["a list of texts", (value: unknown) => Array.isArray(value) && value.every(isText)],
  values: ["a list of values", (value: unknown) => Array.isArray(value) && value.length > 0],
  value: ["a value", () => true],
  schema: ["a schema", isSchema],
  schemas: ["a list of schemas", isSchemaList],
  map: ["schemas by name", isSchemaMap],
  type: [
    `${TYPE_NAMES.join(", ")} or a list of them`,
    (value: unknown) =>
      isType(value) || (Array.isArray(value) && value.length > 0 && value.every(isType)),
  ],
  format: [
    `one of ${Object.keys(STRING_FORMATS).join(", ")}`,
    (value: unknown) => isText(value) && Object.hasOwn(STRING_FORMATS, value),
  ],
  reference: [
    "a place within the schema: # or #/…",
    (value: unknown) => isText(value) && /^#(\/|$)/.test(value),
  ],
} as const satisfies Record<string, readonly [string, (value: unknown) => boolean]>;

/** Keywords that hold values of any type to something. */
const GENERAL_KEYWORDS = {
  type: "type",
  enum: "values",
  const: "value",
  anyOf: "schemas",
  oneOf: "schemas",
  allOf: "schemas",
  $ref: "reference",
} as const satisfies Record<string, keyof typeof RULES>;

/** Keywords that hold values of one type to something. */
export const TYPE_KEYWORDS = {
  object: {
    properties: "map",
    required: "texts",
    additionalProperties: "schema",
    patternProperties: "map",
    minProperties: "count",
    maxProperties: "count",
  },
  array: { items: "schema", prefixItems: "schemas", minItems: "count", maxItems: "count" },
  string: { minLength: "count", maxLength: "count", pattern: "text", format: "format" },
  number: {
    minimum: "number",
    maximum: "number",
    exclusiveMinimum: "number",
    exclusiveMaximum: "number",
    multipleOf: "step",
  },
} as const satisfies Record<string, Record<string, keyof typeof RULES>>;

const KEYWORD_RULES: Readonly<Record<string, keyof typeof RULES>> = Object.assign(
  { ...GENERAL_KEYWORDS },
  ...Object.values(TYPE_KEYWORDS),
);

/** Keywords that say nothing about which values are valid, and where schemas for references lie. */
export const ANNOTATIONS: ReadonlySet<string> = new Set(
  [
    "title description default examples deprecated readOnly writeOnly $comment",
    "contentMediaType contentEncoding contentSchema $schema $id $anchor $defs definitions",
  ]
    .join(" ")
    .split(" "),
);

/** Keywords that no answer can be held to while it is written, and what to write instead. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ["uniqueItems", "take it out and check the answer"],
  ["not", "say what is valid instead"],
  ["if", "write the cases as anyOf"],
  ["then", "write the cases as anyOf"],
  ["else", "write the cases as anyOf"],
  ["propertyNames", "name the properties, or describe the others with additionalProperties"],
  ["dependentRequired", "write the cases as anyOf"],
  ["dependentSchemas", "write the cases as anyOf"],
  ["dependencies", "write the cases as anyOf"],
  ["unevaluatedProperties", "write additionalProperties: false where the properties are"],
  ["unevaluatedItems", "leave it out: behind prefixItems nothing comes unless items says so"],
  ["additionalItems", "write prefixItems, and items for those behind them"],
  ["contains", "describe every item with items or prefixItems"],
  ["minContains", "describe every item with items or prefixItems"],
  ["maxContains", "describe every item with items or prefixItems"],
  ["$dynamicRef", "write $ref"],
  ["nullable", 'write type: [..., "null"]'],
]);

/** What is wrong with a schema itself, the schemas within it left aside. */
export function keywordFaults(schema: JsonObject, where: string): Fault[] {
  return Object.entries(schema).flatMap(([keyword, value]): Fault[] => {
    if (ANNOTATIONS.has(keyword)) return [];
    const place = `${where}/${keyword}`;
    const kind = Object.hasOwn(KEYWORD_RULES, keyword) ? KEYWORD_RULES[keyword]! : undefined;
    if (kind !== undefined) {
      const [rule, holds] = RULES[kind];
      const seen = (JSON.stringify(value) ?? String(value)).slice(0, 80);
      return holds(value)
        ? []
        : [{ where: place, rule: `${keyword} is ${rule}`, seen, fix: "correct it" }];
    }
    if (keyword === "uniqueItems" && value === false) return [];
    const known = REFUSED.get(keyword);
    const close = nearest(keyword, Object.keys(KEYWORD_RULES));
    return [
      {
        where: place,
        rule: "every keyword can be kept to while an answer is written",
        seen: `${keyword}, which ${known ? "cannot" : "is not known"}`,
        fix: known ?? (close ? `write ${close}` : "take it out"),
      },
    ];
  });
}
