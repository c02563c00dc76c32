// Makes one adapter of two, gives it a smaller rank, and writes it as the GGUF that llama.cpp takes with
// --lora.
//
//     node examples/convert-adapter.ts model adapter-a adapter-b out

import { join } from "node:path";
import { convertAdapter, describeAdapter, mergeAdapters } from "../src/index.ts";

const [, , model, a, b, out] = process.argv;
if (!model || !a || !b || !out)
  throw new Error("usage: convert-adapter.ts model adapter-a adapter-b out");

async function show(folder: string): Promise<void> {
  const { parameters, parts } = await describeAdapter(folder);
  const ranks = [...new Set(parts.flatMap((part) => part.ranks))];
  console.log(`${folder}: ranks ${ranks.join(", ")}, ${parameters} numbers`);
}

// Exactly half of each: the ranks add up.
const both = join(out, "both");
await mergeAdapters({ adapters: [a, b], weights: [0.5, 0.5], method: "cat", out: both });

// As small as keeps nine tenths of what it adds, by the squares of the singular values.
const small = join(out, "small");
await convertAdapter({ adapter: both, to: "lora", energy: 0.9, model, out: small });

const gguf = join(out, "small.gguf");
await convertAdapter({ adapter: small, to: "gguf", model, out: gguf });

for (const folder of [a, b, both, small]) await show(folder);
console.log(`llama.cpp: --lora ${gguf}`);
