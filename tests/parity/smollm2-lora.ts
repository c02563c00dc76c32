// The LoRA run of cases/smollm2/lora.json with tunesmith: the same tokens in the same order, the same
// settings, other chance in A's initial values. However it is trained, the saved adapter is examined on
// the model in float32.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSafetensors } from "../../src/hub/index.ts";
import {
  type LoadedModel,
  type LoadModelOptions,
  loadModel,
  type TrainStepOptions,
} from "../../src/index.ts";
import { CASES } from "./stored-cases.ts";

export interface LoraRun {
  readonly seed: number;
  /** Of each step, before its update. */
  readonly losses: readonly number[];
  readonly heldOut: { readonly before: number; readonly after: number };
}

export interface LoraCase {
  readonly method: { readonly rank: number; readonly alpha: number; readonly targets: string[] };
  readonly optimizer: TrainStepOptions;
  readonly runs: readonly LoraRun[];
}

type Rows = number[][];

/** Rows at a time in the evaluation. */
const HELD_OUT_BATCH = 4;

/** Trains and evaluates as PEFT did; takes as long as 40 steps of 1024 tokens do. */
export async function runLora(
  model: string,
  { rank, alpha, targets }: LoraCase["method"],
  optimizer: TrainStepOptions,
  { seed = 0, arithmetic }: Pick<LoadModelOptions, "seed" | "arithmetic"> = {},
): Promise<LoraRun> {
  const { steps, heldOut } = await readTokens();
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-smollm2-"));
  try {
    const method = { name: "lora", rank, alpha, targets } as const;
    const losses: number[] = [];
    {
      await using trained = await loadModel(model, { method, dtype: "float32", seed, arithmetic });
      for (const rows of steps) {
        const batch = { inputIds: rows, labels: rows };
        losses.push((await trained.trainStep(batch, optimizer)).loss);
      }
      await trained.saveAdapter(folder);
    }
    await using base = await loadModel(model, { dtype: "float32" });
    await using tuned = await loadModel(model, { dtype: "float32", adapter: folder });
    const [before, after] = [await heldOutLoss(base, heldOut), await heldOutLoss(tuned, heldOut)];
    return { seed, losses, heldOut: { before, after } };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Through logits as Transformers has it, so that this number leans on no training code of ours. */
async function heldOutLoss(model: LoadedModel, rows: Rows): Promise<number> {
  let sum = 0;
  for (let i = 0; i < rows.length; i += HELD_OUT_BATCH) {
    const part = rows.slice(i, i + HELD_OUT_BATCH);
    sum += (await model.forward({ inputIds: part, labels: part })).loss! * part.length;
  }
  return sum / rows.length;
}

async function readTokens(): Promise<{ steps: Rows[]; heldOut: Rows }> {
  const file = await openSafetensors(join(CASES, "smollm2", "text.safetensors"));
  try {
    const read = async (name: string) => {
      const { shape, byteLength } = file.tensors.get(name)!;
      const bytes = new Uint8Array(byteLength);
      await file.readInto(name, bytes);
      return { shape, ids: [...new Uint16Array(bytes.buffer)] };
    };
    const train = await read("train");
    const [, batch, length] = train.shape as [number, number, number];
    const heldOut = await read("heldOut");
    return {
      steps: chunked(chunked(train.ids, length), batch),
      heldOut: chunked(heldOut.ids, length),
    };
  } finally {
    await file.close();
  }
}

const chunked = <T>(values: readonly T[], size: number): T[][] =>
  Array.from({ length: values.length / size }, (_, i) => values.slice(i * size, (i + 1) * size));
