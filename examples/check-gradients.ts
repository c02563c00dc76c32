// Checks the gradients of a model against differences of its own loss: along a direction d,
// (loss(p + h d) - loss(p - h d)) / 2h must be the gradient's product with d.
//
//     node examples/check-gradients.ts [model]

import { loadModel } from "../src/index.ts";

const [, , reference = "assets/embedded-model"] = process.argv;

await using model = await loadModel(reference, {
  method: { name: "lora", rank: 4, targets: "all-linear", init: false },
  dtype: "float32",
});
const inputIds = [[3, 14, 15, 9, 2, 6, 5, 35, 8, 9, 7, 9]];
const batch = { inputIds, labels: inputIds };
const { gradients } = await model.lossAndGradients(batch);

const lossAt = async (
  data: Float32Array,
  from: Float32Array,
  direction: Float32Array,
  h: number,
) => {
  for (const [at, value] of from.entries()) data[at] = value + h * direction[at]!;
  return (await model.forward(batch)).loss!;
};

const names = Object.keys(model.parameters);
for (const name of [names[0]!, names[1]!, names.at(-2)!, names.at(-1)!]) {
  const { data } = model.parameters[name]!;
  const from = data.slice();
  const gradient = gradients[name]!.data;
  // Along the gradient itself the difference is largest, so rounding matters least.
  const norm = Math.hypot(...gradient);
  const direction = gradient.map((value) => value / norm);
  const h = 0.001;
  const up = await lossAt(data, from, direction, h);
  const down = await lossAt(data, from, direction, -h);
  data.set(from);
  const measured = (up - down) / (2 * h);
  const off = Math.abs(measured - norm) / norm;
  console.log(
    `${name}: ${norm.toFixed(6)}, measured ${measured.toFixed(6)} (${off.toExponential(1)})`,
  );
}
