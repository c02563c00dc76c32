// Answers that are read by a program: JSON by a schema, a choice, and what a grammar describes.
//
//     node examples/structured-answers.ts [model]

import { loadModel, type ResponseFormat } from "../src/index.ts";

const [, , reference = "assets/embedded-model"] = process.argv;
await using model = await loadModel(reference);
const tokenizer = await model.loadTokenizer();
const schema = {
  type: "object",
  properties: {
    tool: { enum: ["light", "heating"] },
    degrees: { type: "integer", minimum: 10, maximum: 25 },
    rooms: { type: "array", items: { type: "string", pattern: "^[a-z]{2,8}$" }, maxItems: 2 },
  },
  required: ["tool", "rooms"],
};
const questions: Readonly<Record<string, ResponseFormat>> = {
  "It is cold in the kitchen.": { type: "json_schema", schema },
  "Is it?": { type: "regex", pattern: "(yes|no)(, certainly)?" },
  "When?": {
    type: "grammar",
    grammar: 'root ::= hour ":" [0-5] [0-9]\nhour ::= [01] [0-9] | "2" [0-3]',
  },
};

// One form for each prompt; a wild temperature changes what is said, not the form.
const { tokenIds, stoppedBecause } = await model.generate({
  inputIds: Object.keys(questions).map((question) => tokenizer.encode(question)),
  responseFormat: Object.values(questions),
  temperature: 1.5,
  seed: 4,
  maxNewTokens: 100,
});
const texts = tokenIds.map((ids) => tokenizer.decode(ids, { skipSpecialTokens: true }));
for (const [row, text] of texts.entries())
  console.log(
    `${Object.keys(questions)[row]} ${stoppedBecause[row]}: ${text.replace(/\s+/g, " ")}`,
  );

// "length" alone would mean that it was cut off.
if (stoppedBecause[0] !== "length") {
  const { tool, rooms } = JSON.parse(texts[0]!) as { tool: string; rooms: string[] };
  console.log(`${tool} in ${rooms.length} rooms`);
}
