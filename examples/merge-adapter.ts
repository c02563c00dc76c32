// Makes an adapter part of its model's weights, and shows that nothing changed but the files.
//
//     node examples/merge-adapter.ts model adapter merged

import { loadModel, merge } from "../src/index.ts";

const [, , model, adapter, out] = process.argv;
if (!model || !adapter || !out) throw new Error("usage: merge-adapter.ts model adapter merged");

await merge({ model, adapter, out });

const inputIds = [[1, 5, 9, 17, 33]];
async function logitsOf(reference: string, options: { adapter?: string }): Promise<Float32Array> {
  await using loaded = await loadModel(reference, options);
  return (await loaded.forward({ inputIds })).logits.data;
}
const beside = await logitsOf(model, { adapter });
const merged = await logitsOf(out, {});
const largest = beside.reduce(
  (most, logit, at) => Math.max(most, Math.abs(logit - merged[at]!)),
  0,
);
console.log(`largest difference of a logit: ${largest.toExponential(1)}`);
