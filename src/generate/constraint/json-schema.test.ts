// Whatever a schema's form allows is valid by another library's measure; what it should allow, it
// allows; and no keyword is passed over.

import { Ajv2020 } from "ajv/dist/2020.js";
import addFormatsModule from "ajv-formats";
import { describe, expect, it } from "vitest";
import { TunesmithError } from "../../errors.ts";
import { type JsonSchema, schemaExpression } from "./json-schema.ts";
import { readFormat } from "./response-format.ts";
import { STRING_FORMATS } from "./string-formats.ts";
import { fits, randomAnswers } from "./testing/random-answer.ts";

const addFormats = addFormatsModule.default;
/** Another library's measure; multiples of decimals are judged as decimals. */
const judge = (schema: JsonSchema) =>
  addFormats(new Ajv2020({ strict: false, multipleOfPrecision: 9 })).compile(schema);
const formatOf = (schema: JsonSchema) => ({ type: "json_schema", schema }) as const;
const object = (properties: object, more: object = {}): JsonSchema => ({
  type: "object",
  properties,
  ...more,
});

const SCHEMAS: Readonly<Record<string, JsonSchema>> = {
  "an object of everything": object(
    {
      name: { type: "string", minLength: 1, maxLength: 8 },
      age: { type: "integer", minimum: -7, maximum: 120 },
      kind: { enum: ["a", 'b"\\', 3, null, { x: [1.5, true] }] },
    },
    { required: ["name"], additionalProperties: false },
  ),
  "numbers between bounds": {
    type: "array",
    items: { type: "number", exclusiveMinimum: -1.25, maximum: 3.5 },
    minItems: 2,
    maxItems: 3,
  },
  "integers beyond a bound": { type: "integer", exclusiveMinimum: -1005, exclusiveMaximum: -93.5 },
  "a tree": {
    $defs: {
      node: object(
        {
          value: { type: "boolean" },
          children: { type: "array", items: { $ref: "#/$defs/node" }, maxItems: 2 },
        },
        { required: ["value"] },
      ),
    },
    $ref: "#/$defs/node",
  },
  "a pattern within a string": { type: "string", pattern: '^[A-Z"\\\\\\n]{2,4}-\\d+$' },
  "a pattern anywhere": { type: "string", pattern: "(ab|[^a])\\d", title: "ignored" },
  "cases of oneOf": {
    oneOf: [
      object({ k: { const: "x" }, n: { type: "integer" } }, { required: ["k", "n"] }),
      object({ k: { const: "y" } }, { required: ["k"] }),
    ],
  },
  "other properties": object(
    { ab: { type: "null" } },
    { additionalProperties: { type: "integer" } },
  ),
  "allOf beside $ref": {
    $defs: { base: object({ a: { type: "integer" } }, { required: ["a"] }) },
    $ref: "#/$defs/base",
    allOf: [
      { properties: { a: { minimum: 5 }, b: { type: ["null", "string"] } }, required: ["b"] },
    ],
  },
  "names by pattern": object(
    { x_a: { maximum: 10 }, b: { type: "string", maxLength: 3 } },
    {
      patternProperties: { "^x_": { type: "integer" }, _y$: { type: "number", minimum: 0 } },
      additionalProperties: { type: "null" },
      minProperties: 2,
      maxProperties: 3,
    },
  ),
  "some property, and not too many": {
    type: "object",
    minProperties: 1,
    maxProperties: 2,
    additionalProperties: { type: "integer" },
  },
  "one of three properties": object(
    { a: { type: "null" }, b: { type: "null" }, c: { type: "null" } },
    { minProperties: 2, required: ["b"] },
  ),
  "a pattern of some length": { type: "string", pattern: "é.*b", minLength: 4, maxLength: 6 },
  "a format of some length": { type: "string", format: "email", maxLength: 9 },
  "multiples between bounds": {
    type: "array",
    items: { type: "number", multipleOf: 0.25, minimum: -2, maximum: 12.6 },
  },
  "whole multiples": { type: "integer", multipleOf: 60, exclusiveMinimum: -600 },
  "a tuple": {
    type: "array",
    prefixItems: [{ type: "boolean" }, { const: "–" }],
    items: { type: "null" },
    minItems: 2,
    maxItems: 5,
  },
};

describe("every answer that comes to its end is valid", () => {
  it.each(Object.entries(SCHEMAS))("%s", (_, schema) => {
    const validate = judge(schema);
    const texts = randomAnswers(formatOf(schema), 30);
    expect(texts.length).toBeGreaterThan(5);
    for (const text of texts) expect(validate(JSON.parse(text)), text).toBe(true);
  });

  it.each(Object.keys(STRING_FORMATS))("format %s", (format) => {
    const validate = judge({ type: "string", format });
    const texts = randomAnswers(formatOf({ type: "string", format }), 30);
    expect(texts.length).toBeGreaterThan(5);
    for (const text of texts) expect(validate(JSON.parse(text)), text).toBe(true);
  });

  it.each(Object.keys(STRING_FORMATS))("format %s within a length", (format) => {
    const schema = { type: "string", format, minLength: 8, maxLength: 36 };
    const texts = randomAnswers(formatOf(schema), 30);
    expect(texts.length).toBeGreaterThan(5);
    for (const text of texts) expect(judge(schema)(JSON.parse(text)), text).toBe(true);
  });

  it("without a schema it is an object", () => {
    const texts = randomAnswers({ type: "json_object" }, 60);
    expect(texts.length).toBeGreaterThan(5);
    for (const text of texts) expect(JSON.parse(text)).toBeTypeOf("object");
    expect(texts.every((text) => text.startsWith("{"))).toBe(true);
  });
});

it.each<[JsonSchema, string[], string[]]>([
  [{ type: "string" }, ['"é😀\\n\\u00e9\\ud83d\\ude00"', '""'], ['"\n"', '"\\ud83d"', "'a'", '"']],
  [{ type: "string", maxLength: 2 }, ['"éa"', '"\\u00e9😀"'], ['"abc"']],
  [{ type: "number" }, ["0", "-1.5e+9", "10.25"], ["01", ".5", "1.", "+1", "NaN", "1e999"]],
  [
    { type: "number", minimum: 0.5, maximum: 2 },
    ["0.5", "2", "2.0", "1.99"],
    ["0.49", "2.01", "0"],
  ],
  [
    { type: "integer", minimum: 9, maximum: 101 },
    ["9", "10", "99", "101"],
    ["8", "102", "9.0", "-9"],
  ],
  [
    { type: "number", exclusiveMinimum: 0.5, exclusiveMaximum: 1.25 },
    ["0.51", "0.500001", "1", "1.249"],
    ["0.5", "0.50", "1.25", "1.250", "0.4", "1.3"],
  ],
  [
    {
      allOf: [
        { type: "integer", minimum: 2, maximum: 9 },
        { minimum: 5, maximum: 12 },
      ],
    },
    ["5", "9"],
    ["4", "10"],
  ],
  [
    { type: "integer", multipleOf: 60, maximum: 3600 },
    ["0", "60", "-120", "3600", "540"],
    ["50", "61", "3660", "6", "060", "1e60"],
  ],
  [
    { type: "number", multipleOf: 0.05 },
    ["0.05", "3", "3.5", "19.95", "-7.10"],
    ["0.01", "3.57", "1.050", "5e-2"],
  ],
  [{ type: "integer", multipleOf: 1.5 }, ["3", "-6", "0"], ["1", "4", "1.5"]],
  [
    { type: "string", pattern: "a|b", minLength: 2, maxLength: 3 },
    ['"xa"', '"éb\\n"', '"bbb"'],
    ['"a"', '"xyz"', '"abcd"'],
  ],
  [
    object({ xa: { minimum: 1 } }, { patternProperties: { "^x": { type: "integer" } } }),
    ["{}", '{"xa":3,"xb":0}', '{"x":0}'],
    ['{"xa":0}', '{"xa":1.5}', '{"y":1}', '{"xb":null}'],
  ],
  [
    { type: "object", maxProperties: 1, additionalProperties: { type: "null" } },
    ["{}", '{"a":null}'],
    ['{"a":null,"b":null}'],
  ],
  [
    object({ a: { type: "null" } }, { minProperties: 2, additionalProperties: { type: "null" } }),
    ['{"a":null,"b":null}', '{"a":null,"b":null,"c":null}'],
    // Two others may have one name.
    ["{}", '{"a":null}', '{"b":null,"c":null}'],
  ],
  [
    {
      allOf: [{ prefixItems: [{ minimum: 3 }] }, { prefixItems: [true, { type: "null" }] }],
      items: { type: ["integer", "null"] },
    },
    ["[3,null,4]", "[5,null]"],
    ["[2,null]", "[3.5,null]", "[3,4]"],
  ],
  [{ enum: ["a", 1] }, ['"a"', "1"], ['"b"', "a"]],
  [{ const: { a: [1, null] } }, ['{"a":[1,null]}', '{ "a": [ 1, null ] }'], ['{"a":[1]}']],
  [
    object({ a: { type: "null" }, b: { type: "null" } }, { required: ["b"] }),
    ['{"a":null,"b":null}', '{"b":null}', '{\n  "a": null, "b": null\n}'],
    ['{"a":null}', "{}", '{"a":null "b":null}', '{"b":null,"a":null}', '{"b":null,"c":1}'],
  ],
  [object({ a: true }), ["{}", '{"a":[{"b":1}]}'], ['{"b":1}']],
  [
    object({ ab: { type: "null" } }, { additionalProperties: { type: "integer" } }),
    ['{"ab":null,"a":1,"abc":2,"":3}', '{"b":1}'],
    ['{"ab":1}', '{"a":null}', '{"\\u0061b":1}'],
  ],
  [true, ["{}", "[1,[]]", "null"], ["", "nul"]],
])("%j allows what is meant and nothing else", (schema, allowed, refused) => {
  for (const text of allowed) expect(fits(formatOf(schema), text), text).toBe(true);
  for (const text of refused) expect(fits(formatOf(schema), text), text).toBe(false);
});

describe("a schema that cannot be kept to", () => {
  const faultsOf = (schema: JsonSchema) => {
    try {
      readFormat(formatOf(schema), "person.json");
    } catch (error) {
      expect(error).toBeInstanceOf(TunesmithError);
      const { code, faults } = error as TunesmithError;
      expect(code).toBe("config");
      for (const part of faults.flatMap(({ where, rule, seen, fix }) => [where, rule, seen, fix]))
        expect(part.trim()).not.toBe("");
      return faults;
    }
    throw new Error(`${JSON.stringify(schema)} was taken`);
  };

  it.each<[JsonSchema, string, RegExp]>([
    [object({ a: { multipleOf: 997 } }), "#/properties/a/multipleOf", /enum/],
    [{ type: "number", multipleOf: 0 }, "#/multipleOf", /correct/],
    [{ not: { type: "null" } }, "#/not", /what is valid/],
    [{ type: "array", items: { if: true } }, "#/items/if", /anyOf/],
    [{ type: "array", uniqueItems: true }, "#/uniqueItems", /check the answer/],
    [object({ "a/b~": { propertyNames: {} } }), "#/properties/a~1b~0/propertyNames", /name/],
    [{ patternProperties: { "a(?=b)": true } }, "#/patternProperties", /without it/],
    [{ patternProperties: { "[": true } }, "#/patternProperties", /correct the pattern/],
    [object({ a: true }, { minProperties: 2 }), "#/minProperties", /name more/],
    [{ type: "object", minProperties: 2, maxProperties: 1 }, "#/minProperties", /lower/],
    [{ type: "object", requird: ["a"] }, "#/requird", /write required/],
    [{ type: "strin" }, "#/type", /correct/],
    [{ type: "string", format: "idn-email" }, "#/format", /correct/],
    [{ type: "string", maxLength: -1 }, "#/maxLength", /correct/],
    [{ type: "string", pattern: "(?=a)b" }, "#/pattern", /without it/],
    [{ type: "string", pattern: "[" }, "#/pattern", /correct the pattern/],
    [{ type: "string", minLength: 4, maxLength: 3 }, "#/minLength", /correct/],
    [{ type: "string", pattern: "^[a-z]*$", maxLength: 90_000 }, "#", /lower/],
    [{ type: "array", minItems: 3, maxItems: 2 }, "#/minItems", /correct/],
    [{ enum: ["a"], type: "null" }, "#/enum", /type or the values/],
    [{ $ref: "#/$defs/nowhere" }, "#/$ref", /\$defs/],
    [{ $ref: "other.json" }, "#/$ref", /correct/],
    [
      { $defs: { a: { allOf: [{ $ref: "#/$defs/a" }] } }, $ref: "#/$defs/a" },
      "#/$defs/a/",
      /within/,
    ],
    [{ oneOf: [{ type: "integer" }, { type: "number" }] }, "#/oneOf", /anyOf/],
    [{ allOf: [{ pattern: "a" }, { pattern: "b" }] }, "#/pattern", /one schema/],
  ])("is refused by the place in it: %j", (schema, place, fix) => {
    const [fault] = faultsOf(schema);
    expect(fault!.where).toContain(`person.json${place}`);
    expect(fault!.fix).toMatch(fix);
  });

  it("is told with all its faults", () => {
    const places = faultsOf(object({ a: { not: {} }, b: { contains: {} }, c: { minLenght: 1 } }));
    expect(places.map(({ where }) => where)).toEqual([
      "person.json#/properties/a/not",
      "person.json#/properties/b/contains",
      "person.json#/properties/c/minLenght",
    ]);
  });

  it("is told where no answer fits, or the form is too large", () => {
    expect(faultsOf(false)[0]!.rule).toBe("some answer fits");
    expect(faultsOf({ type: "integer", minimum: 3, maximum: 2 })[0]!.rule).toBe("some answer fits");
    const endless = { $defs: { a: object({ b: { $ref: "#/$defs/a" } }, { required: ["b"] }) } };
    expect(faultsOf({ ...endless, $ref: "#/$defs/a" })[0]!.rule).toBe("some answer fits");
    expect(faultsOf({ type: "string", maxLength: 1e6 })[0]!.fix).toMatch(/maxLength/);
  });
});

it("annotations change nothing", () => {
  const notes = { title: "t", description: "d", default: 1, examples: [1], $comment: "c" };
  expect(() => schemaExpression({ ...notes, type: "null" }, "s")).not.toThrow();
  expect(fits(formatOf({ ...notes, type: "null" }), "null")).toBe(true);
  expect(fits(formatOf({ ...notes, type: "null" }), "1")).toBe(false);
});
