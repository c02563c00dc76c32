// Lets a model continue texts, alone and with an adapter: greedily, and drawn with a seed.
//
//     node examples/generate-with-adapter.ts [model] [adapter]

import { loadModel } from "../src/index.ts";

const [, , reference = "assets/embedded-model", adapter] = process.argv;
const prompts = ["the cat sat on", "the dog"];

async function show(title: string, options: { adapter?: string }): Promise<void> {
  await using model = await loadModel(reference, options);
  const tokenizer = await model.loadTokenizer();
  // Prompts of different lengths go side by side, without padding.
  const inputIds = prompts.map((prompt) => tokenizer.encode(prompt));
  const greedy = await model.generate({ inputIds, maxNewTokens: 12 });
  const drawn = await model.generate({
    inputIds,
    maxNewTokens: 12,
    temperature: 0.8,
    topP: 0.95,
    seed: 7,
    stopStrings: ["\n"],
  });
  for (const [row, prompt] of prompts.entries()) {
    console.log(`${title}, likeliest: ${prompt}|${tokenizer.decode(greedy.tokenIds[row]!)}`);
    console.log(`${title}, drawn: ${prompt}|${tokenizer.decode(drawn.tokenIds[row]!)}`);
  }
}

await show("model", {});
if (adapter) await show("with adapter", { adapter });
