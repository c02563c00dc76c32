// Reads an adapter that PEFT (or tunesmith) saved, changes it, and writes one that PEFT loads: here
// every B is halved, which halves what the adapter adds to the model.
//
//     node examples/edit-adapter.ts model adapter edited

import { loadModel } from "../src/index.ts";

const [, , reference, adapter, edited] = process.argv;
if (!reference || !adapter || !edited)
  throw new Error("usage: edit-adapter.ts model adapter edited");

await using model = await loadModel(reference, { adapter });
for (const [key, { data, shape }] of Object.entries(model.parameters)) {
  console.log(`${key} [${shape.join(", ")}]`);
  // The arrays are the adapter's own values, not copies.
  if (key.endsWith("lora_B.weight")) for (const [at, value] of data.entries()) data[at] = value / 2;
}
await model.saveAdapter(edited); // adapter_config.json and adapter_model.safetensors
