// A LoRA on a model that looks at images (SmolVLM, Idefics3), and a question about one. Needs `npm install sharp`.
//
//     node examples/look-at-images.ts ./SmolVLM-256M-Instruct photos.jsonl photo.jpg
//
// photos.jsonl has records such as
//     {"messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]},
//                   {"role": "assistant", "content": "A fjord."}], "images": ["photo.jpg"]}

import { openConversation, train } from "../src/index.ts";

const [model = "my-vision-model", data = "photos.jsonl", image = "photo.jpg"] =
  process.argv.slice(2);

// The decoder alone: then every image goes through the encoder once, not in every step.
const method = { name: "lora", rank: 8, targets: ".*text_model.*(q|k|v|o)_proj" } as const;
let adapter: string | undefined;
for await (const event of train(
  {
    model: { path: model },
    data: { train: data, maxLength: 1024 },
    method,
    train: { batchSize: 2, epochs: 8, learningRate: 1e-2 },
    output: "runs/images",
  },
  { overwrite: true },
)) {
  if (event.type === "step-finished") console.log(`step ${event.step} loss ${event.loss}`);
  if (event.type === "run-finished") adapter = event.adapterFolder;
}

const conversation = await openConversation({ model, ...(adapter && { adapter }) });
const content = [{ type: "image", image } as const, { type: "text", text: "What is it?" } as const];
for await (const piece of conversation.answer([{ role: "user", content }], { maxNewTokens: 12 }))
  process.stdout.write(piece);
process.stdout.write("\n");
await conversation.dispose();
