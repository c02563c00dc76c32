// Trains as a recipe file says, and prints what `tunesmith plan` would have said first.
//
//     node examples/train-from-recipe.ts [recipe.yaml]

import { plan, type RunFinished, train } from "../src/index.ts";

const recipe = process.argv[2] ?? "assets/quickstart/recipe.yaml";

const { model, steps, estimate } = await plan(recipe);
console.log(`${model.trainable} of ${model.parameters} numbers are trained`);
console.log(`${steps} steps, at most ${Math.round(estimate.memoryBytes / 1e6)} MB`);

let finished: RunFinished | undefined;
for await (const event of train(recipe)) {
  if (event.type === "evaluation-finished")
    console.log(`step ${event.step}: held-out loss ${event.loss.toFixed(3)}`);
  if (event.type === "run-finished") finished = event;
}
console.log(`adapter: ${finished?.adapterFolder}`);
