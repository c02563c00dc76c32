// SmolLM2-135M-Instruct held to schemas at a temperature at which it says anything: every answer that was not
// cut off is valid by another library's measure. Takes minutes, so on request only: TUNESMITH_SLOW=1
// TUNESMITH_SMOLLM2=path/of/the.gguf (README.md).

import { Ajv2020 } from "ajv/dist/2020.js";
import addFormatsModule from "ajv-formats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonSchema } from "../../src/generate/index.ts";
import { encodeChat } from "../../src/hub/index.ts";
import { type LoadedModel, loadModel } from "../../src/index.ts";

const MINUTES = 60_000;
const SEEDS = 32;
const path = process.env.TUNESMITH_SMOLLM2 ?? "";

const object = (properties: object, more: object = {}): JsonSchema => ({
  type: "object",
  properties,
  required: Object.keys(properties),
  ...more,
});

/** A prompt, the schema of its answer, and how many of 32 answers come to their end at least. */
const CASES: readonly (readonly [prompt: string, schema: JsonSchema, whole: number])[] = [
  [
    "Describe a sailor as JSON with name, age, mood and ports.",
    object(
      {
        name: { type: "string", minLength: 1, maxLength: 30 },
        age: { type: "integer", minimum: 16, maximum: 99 },
        mood: { enum: ["glad", "sad", "tired"] },
        ports: {
          type: "array",
          items: { type: "string", maxLength: 20 },
          minItems: 1,
          maxItems: 3,
        },
      },
      { additionalProperties: false },
    ),
    28,
  ],
  [
    "Book a meeting, as JSON with day, start, mail, hours and price.",
    object({
      day: { type: "string", format: "date" },
      start: { type: "string", format: "time", maxLength: 9 },
      mail: { type: "string", format: "email", maxLength: 30 },
      hours: { type: "number", multipleOf: 0.25, exclusiveMinimum: 0, maximum: 8 },
      price: { type: "number", multipleOf: 0.01, minimum: 0, maximum: 999.99 },
    }),
    28,
  ],
  [
    "Describe a folder with files in it as JSON.",
    {
      $defs: {
        node: {
          oneOf: [
            object({ kind: { const: "file" }, size: { type: "integer", minimum: 0 } }),
            object({
              kind: { const: "folder" },
              children: { type: "array", items: { $ref: "#/$defs/node" }, maxItems: 2 },
            }),
          ],
        },
      },
      $ref: "#/$defs/node",
    },
    20,
  ],
  [
    "Count fruits, as JSON from the name of each to its number.",
    {
      type: "object",
      patternProperties: { "^[a-z]{3,9}$": { type: "integer", minimum: 1, maximum: 500 } },
      additionalProperties: false,
      minProperties: 1,
      maxProperties: 4,
    },
    28,
  ],
];

describe.runIf(process.env.TUNESMITH_SLOW && path)(
  "SmolLM2 held to schemas (needs TUNESMITH_SLOW and TUNESMITH_SMOLLM2)",
  () => {
    let model: LoadedModel;
    beforeAll(async () => {
      model = await loadModel(path, { dtype: "q4" });
    }, 5 * MINUTES);
    afterAll(() => model?.dispose());

    it.each(CASES)(
      "%s",
      async (prompt, schema, least) => {
        const validate = addFormatsModule
          .default(new Ajv2020({ strict: false, multipleOfPrecision: 9 }))
          .compile(schema);
        const tokenizer = await model.loadTokenizer();
        const chat = [{ role: "user", content: prompt }] as const;
        const inputIds = [...encodeChat(tokenizer, chat, { addGenerationPrompt: true }).inputIds];
        const requests = model.requests({ tokenizer, maxBatch: 8 });
        const responseFormat = { type: "json_schema", schema } as const;
        const replies = await Promise.all(
          Array.from({ length: SEEDS }, (_, seed) => {
            const options = { temperature: 1, maxNewTokens: 160, seed, responseFormat };
            return requests.submit({ ...options, inputIds }).finished;
          }),
        );
        const whole = replies.filter(({ stoppedBecause }) => stoppedBecause !== "length");
        for (const { text } of whole) expect(validate(JSON.parse(text)), text).toBe(true);
        const tokens = replies.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
        console.log({ prompt, whole: whole.length, of: SEEDS, tokens, first: whole[0]?.text });
        expect(new Set(whole.map(({ text }) => text)).size).toBeGreaterThan(10);
        expect(whole.length).toBeGreaterThanOrEqual(least);
      },
      20 * MINUTES,
    );
  },
);
