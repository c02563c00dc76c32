// Requests that join and leave one running batch: with options and adapters of their own, and as they come.
//
//     node examples/many-requests.ts model [adapter]

import { loadModel } from "../src/index.ts";

const [, , reference = "assets/embedded-model", adapter] = process.argv;
await using model = await loadModel(reference, adapter ? { adapters: { mine: adapter } } : {});
const tokenizer = await model.loadTokenizer();
const requests = model.requests({ tokenizer, maxBatch: 2 });

const ask = (text: string, maxNewTokens: number, options = {}) =>
  requests.submit({ inputIds: tokenizer.encode(text), maxNewTokens, ignoreEos: true, ...options });

// Two at once: the third begins as soon as the first is at its end.
const [first, second, third] = [
  ask("say 1", 4),
  ask("say 2", 16, { temperature: 0.8, topP: 0.95, seed: 7 }),
  ask("say 3", 8, adapter ? { adapter: "mine" } : {}),
];
let pieces = 0;
for await (const { text } of first!) pieces += text === "" ? 0 : 1;
console.log(`first: ${pieces} pieces`);

// One that comes late, and one that nobody waits for any longer.
const late = ask("say 4", 6);
const giveUp = new AbortController();
const endless = ask("say 5", 30, { signal: giveUp.signal });
giveUp.abort(new Error("not needed any more"));

for (const [name, reply] of Object.entries({ second, third, late })) {
  const { text, tokenIds } = await reply!.finished;
  console.log(`${name}: ${tokenIds.length} tokens: ${JSON.stringify(text)}`);
}
await endless.finished.catch((error: Error) => console.log(`endless: ${error.message}`));

// Alone it would have been the same.
const alone = await model.generate({
  inputIds: [tokenizer.encode("say 4")],
  maxNewTokens: 6,
  ignoreEos: true,
});
console.log(
  `late, alone: ${JSON.stringify(tokenizer.decode(alone.tokenIds[0]!, { skipSpecialTokens: true }))}`,
);
