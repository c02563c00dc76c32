// One model, several adapters: chosen by name, summed, one for each row of a batch, merged and unmerged.
//
//     node examples/many-adapters.ts model adapter-a adapter-b

import { loadModel, mergeAdapters } from "../src/index.ts";

const [, , reference, a, b] = process.argv;
if (!reference || !a || !b) throw new Error("usage: many-adapters.ts model adapter-a adapter-b");

await using model = await loadModel(reference, { adapters: { a, b } });
const tokenizer = await model.loadTokenizer();
const prompt = tokenizer.encode("say 3");

// Rows side by side, each with its own adapter or none.
const adapters = ["a", "b", null];
const inputIds = adapters.map(() => prompt);
const { tokenIds } = await model.generate({ inputIds, adapters, maxNewTokens: 8 });
for (const [row, name] of adapters.entries())
  console.log(`${name ?? "base"}: ${tokenizer.decode(tokenIds[row]!)}`);

const batch = { inputIds: [prompt] };
const logits = async (choice: Parameters<typeof model.adapters.use>[0]) =>
  (await model.forward(batch, { adapters: choice })).logits.data;
const difference = (x: Float32Array, y: Float32Array) =>
  x.reduce((most, value, i) => Math.max(most, Math.abs(value - y[i]!)), 0).toExponential(1);

// A sum of adapters, and the same as an adapter of its own.
const factors = { a: 0.5, b: 0.5 };
await mergeAdapters({ adapters: [a, b], weights: [0.5, 0.5], method: "cat", out: "a-and-b" });
await model.adapters.load("both", "a-and-b");
console.log(
  `sum and merged adapter differ by ${difference(await logits(factors), await logits("both"))}`,
);

// Part of the weights for as long as it is wanted.
const [before, chosen] = [await logits(null), await logits("a")];
await model.adapters.merge("a");
console.log(`chosen and merged differ by ${difference(chosen, await logits(null))}`);
await model.adapters.unmerge();
console.log(`before and after differ by ${difference(before, await logits(null))}`);
