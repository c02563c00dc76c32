// Forms that masks are timed with, each with an answer as a model would write it.

import type { ResponseFormat } from "../src/generate/constraint/response-format.ts";

export interface FormCase {
  /** Made anew each time: a format is prepared once for each object. */
  readonly format: () => ResponseFormat;
  readonly answer: string;
}

const object = (properties: object) => ({
  type: "object",
  properties,
  required: Object.keys(properties),
});
const text = (maxLength?: number) => ({ type: "string", ...(maxLength && { maxLength }) });
const ofSchema = (schema: object, answer: object | string): FormCase => ({
  format: () => ({ type: "json_schema", schema: schema as never }),
  answer: typeof answer === "string" ? answer : JSON.stringify(answer),
});

const SUMMARY =
  "The old keeper lights the lamp each evening, counts the ships that pass – few, in winter – and writes " +
  "their names into a book that nobody has asked for; when the fog comes he rings the bell by hand, and in " +
  "the morning, tired, he finds that someone far out has answered him.";

export const FORM_CASES: Readonly<Record<string, FormCase>> = {
  "five properties": ofSchema(
    object({
      name: text(),
      age: { type: "integer", minimum: 0, maximum: 120 },
      height: { type: "number", minimum: 0.5, maximum: 2.5 },
      mood: { enum: ["glad", "sad", "neither of the two"] },
      colours: { type: "array", items: text(), maxItems: 5 },
    }),
    {
      name: "Ingeborg Lindqvist-Ōkawa",
      age: 47,
      height: 1.68,
      mood: "neither of the two",
      colours: ["dark red", "the blue of ink", "sand"],
    },
  ),
  "bounded strings": ofSchema(
    object({ title: text(60), author: text(30), summary: text(400), code: text(8) }),
    {
      title: "The lighthouse at the end of the fjord",
      author: "Sigrid Ångström",
      summary: SUMMARY,
      code: "LH-0042",
    },
  ),
  "a recursive schema": ofSchema(
    {
      $defs: {
        node: object({
          name: text(30),
          children: { type: "array", items: { $ref: "#/$defs/node" } },
        }),
      },
      $ref: "#/$defs/node",
    },
    {
      name: "root of the tree",
      children: [
        { name: "first branch", children: [{ name: "a leaf", children: [] }] },
        { name: "second branch", children: [] },
      ],
    },
  ),
  "any object": {
    format: () => ({ type: "json_object" }),
    answer: JSON.stringify(
      { story: SUMMARY, tags: ["sea", "night"], pages: 212, read: true },
      undefined,
      2,
    ),
  },
  formats: ofSchema(
    object({
      at: { type: "string", format: "date-time" },
      mail: { type: "string", format: "email" },
      page: { type: "string", format: "uri" },
      id: { type: "string", format: "uuid" },
    }),
    {
      at: "2026-11-28T09:30:00Z",
      mail: "ingeborg.lindqvist@lighthouse.example.org",
      page: "https://www.example.org/fjord/lighthouse/keepers?year=1911&month=2",
      id: "0f8fad5b-d9cb-469f-a165-70867728950e",
    },
  ),
  "a pattern of letters": {
    format: () => ({ type: "regex", pattern: "\\p{Lu}\\p{Ll}{1,20}( \\p{Lu}\\p{Ll}{1,20}){1,7}" }),
    answer: "Wandering Lighthouse Keepers Somewhere Beyond Northern Ångström Fjords",
  },
  "a grammar": {
    format: () => ({
      type: "grammar",
      grammar:
        'root ::= sum\nsum ::= product ([-+] product)*\nproduct ::= factor ("*" factor)*\nfactor ::= [0-9]+ | "(" sum ")"',
    }),
    answer: "12*(3+45-(6*7))+(1024-8*(9+10))*11-2",
  },
};
