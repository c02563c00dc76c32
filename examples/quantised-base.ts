// QLoRA: trains a LoRA over a model whose linear weights are kept in 4 bits, and merges it.
//
//     node examples/quantised-base.ts model merged

import { loadModel } from "../src/index.ts";

const [, , reference, out] = process.argv;
if (!reference || !out) throw new Error("usage: quantised-base.ts model merged");

await using model = await loadModel(reference, {
  method: { name: "qlora", rank: 8, targets: "all-linear" },
  quantization: "nf4", // qlora's own default; "fp4" and "int8" are the others
});
const inputIds = [[1, 5, 9, 17, 33, 17, 9, 5]];
for (let step = 1; step <= 8; step++) {
  const { loss } = await model.trainStep({ inputIds, labels: inputIds }, { learningRate: 2e-3 });
  console.log(`step ${step}: loss ${loss.toFixed(3)}`);
}

// The merged model is not quantised: in 4 bits most of what was learned would be rounded away.
const loss = await model.merge(out);
if (loss)
  console.log(
    `training moved the weights by ${(100 * loss.change).toFixed(1)} %; ` +
      `${loss.type} again would move them by ${(100 * loss.error).toFixed(1)} %`,
  );
