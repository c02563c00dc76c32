// Trains from the library: the recipe as an object, every step as a typed event, an AbortSignal that
// stops in good order, and the same run continued from where it stopped.
//
//     node examples/train-with-events.ts [model] [train.jsonl]

import { type RecipeInput, train } from "../src/index.ts";

const [
  ,
  ,
  model = "assets/embedded-model",
  data = "assets/quickstart/train.jsonl",
  output = "runs/events",
] = process.argv;

const recipe: RecipeInput = {
  model: { path: model },
  data: { train: data },
  method: { name: "lora", rank: 4, targets: ["q_proj", "v_proj"] },
  train: { maxSteps: 6, batchSize: 4 },
  output,
};

async function run(stopAfter: number, options: { resume?: boolean; overwrite?: boolean }) {
  const stop = new AbortController();
  for await (const event of train(recipe, { ...options, signal: stop.signal }))
    switch (event.type) {
      case "step-finished":
        console.log(`step ${event.step}/${event.totalSteps} loss ${event.loss.toFixed(4)}`);
        if (event.step === stopAfter) stop.abort();
        break;
      case "checkpoint-saved":
        console.log(`saved step ${event.step}`);
        break;
      case "run-finished":
        console.log(event.howToGoOn ?? `finished: ${event.adapterFolder}`);
    }
}

await run(3, { overwrite: true }); // ends with a checkpoint at step 3
await run(Number.POSITIVE_INFINITY, { resume: true }); // goes on with step 4
