// A training run of the toy model as a process of its own, which tests kill: from outside at any time,
// or by itself at the n-th time that it touches the disk (argument 2), in the middle of that write.
// Arguments: run folder, number of the fatal call (0: none), milliseconds of pause in a step.

import { writeSync } from "node:fs";
import fs, { type FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { runTraining } from "../loop.ts";
import { createToyData, createToyModel } from "./toy-model.ts";

const [, , runFolder = "", fatalCall = "0", pause = "0"] = process.argv;

function die(): never {
  process.kill(process.pid, "SIGKILL");
  throw new Error("unreachable");
}

/** Makes the n-th call that changes the disk the last one of this process. */
async function dieAtCall(fatal: number): Promise<void> {
  let calls = 0;
  const isFatal = () => ++calls === fatal;
  const functions = fs as unknown as Record<string, (...values: unknown[]) => unknown>;
  for (const name of ["rename", "rm", "unlink", "mkdir", "link", "writeFile"]) {
    const original = functions[name]!;
    functions[name] = async (...values) => {
      // Odd calls die before their work is done, even ones after it.
      if (!isFatal()) return original(...values);
      if (fatal % 2 === 0) await original(...values);
      die();
    };
  }
  const probe = await fs.open(process.execPath, "r");
  const methods = Object.getPrototypeOf(probe) as Record<string, unknown>;
  await probe.close();
  for (const name of ["write", "appendFile", "writeFile", "sync"]) {
    const original = methods[name] as (...values: unknown[]) => unknown;
    methods[name] = function (this: FileHandle, data: unknown, ...rest: unknown[]) {
      if (!isFatal()) return original.call(this, data, ...rest);
      const bytes = typeof data === "string" ? Buffer.from(data) : data;
      if (bytes instanceof Uint8Array) writeSync(this.fd, bytes, 0, bytes.length >> 1);
      die();
    };
  }
  syncBuiltinESMExports();
}

if (Number(fatalCall) > 0) await dieAtCall(Number(fatalCall));
const model = createToyModel();
const slowModel: typeof model = {
  ...model,
  async accumulateGradients(batch, options) {
    if (Number(pause) > 0) await new Promise((resolve) => setTimeout(resolve, Number(pause)));
    return model.accumulateGradients(batch, options);
  },
};
const events = runTraining({
  model: slowModel,
  train: createToyData({ batches: 7 }),
  evaluation: createToyData({ batches: 2, seed: 99 }),
  settings: {
    epochs: 6,
    gradientAccumulation: 2,
    learningRate: 0.05,
    schedule: "cosine",
    warmupSteps: 3,
    weightDecay: 0.01,
    evaluateEvery: 3,
    saveEvery: 2,
    keepLast: 1,
    seed: 3,
  },
  runFolder,
  resume: true,
  recipeText: "model: toy\n",
});
for await (const event of events) process.stdout.write(`${event.type}\n`);
