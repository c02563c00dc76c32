// A training loop of one's own: token ids in, AdamW steps out, an adapter at the end. This is all that
// an experiment with another loop, schedule or sampler needs.
//
//     node examples/custom-loop.ts [model] [adapter folder]

import { loadModel } from "../src/index.ts";

const [, , reference = "assets/embedded-model", folder = "runs/custom-loop"] = process.argv;

await using model = await loadModel(reference, {
  method: { name: "lora", rank: 8, alpha: 16, targets: ["q_proj", "v_proj"] },
  seed: 1,
});
const tokenizer = await model.loadTokenizer();

const texts = ["the cat sat on the mat", "the dog sat on the log", "the cow saw the plough"];
const rows = texts.map((text) => tokenizer.encode(text));
const length = Math.max(...rows.map((row) => row.length));

// Shorter rows are padded on the right; -100 keeps padding out of the loss.
const pad = (row: readonly number[], value: number) => [
  ...row,
  ...new Array<number>(length - row.length).fill(value),
];
const batch = {
  inputIds: rows.map((row) => pad(row, tokenizer.padTokenId ?? 0)),
  attentionMask: rows.map((row) =>
    pad(
      row.map(() => 1),
      0,
    ),
  ),
  labels: rows.map((row) => pad(row, -100)),
};

const steps = 20;
for (let step = 0; step < steps; step++) {
  const learningRate = 0.01 * (1 - step / steps);
  const { loss, gradNorm } = await model.trainStep(batch, { learningRate, maxGradNorm: 1 });
  console.log(`step ${step + 1} loss ${loss.toFixed(4)} gradient norm ${gradNorm.toFixed(3)}`);
}
await model.saveAdapter(folder);
