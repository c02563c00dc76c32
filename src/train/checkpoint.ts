// Checkpoints: all that a run needs to continue as if it had never stopped. A checkpoint folder has
// its final name only once it is complete and on the disk, so whichever is there can be trusted.

import { dirname, join } from "node:path";
import type { Model, Parameter } from "../engine/model.ts";
import { TunesmithError } from "../errors.ts";
import {
  openSafetensors,
  readJsonObject,
  writeFileAtomically,
  writeSafetensors,
} from "../hub/index.ts";
import type { Optimizer } from "../runtime/optimizer.ts";
import { namesIn, removeFolder, writeFolderAtomically } from "./atomic-folder.ts";
import type { TrainingSettings } from "./settings.ts";

/** Where a run stands. Together with parameters and optimizer state it determines all that follows. */
export interface LoopState {
  /** Finished optimizer steps. */
  step: number;
  /** The epoch that the next batch comes from, and how many of its batches are used up. */
  epoch: number;
  batch: number;
  /** Time spent so far, in all processes that worked on the run. */
  seconds: number;
  /** The step of the newest evaluation; -1 before the first. */
  evaluatedAt: number;
  /** The newest evaluation's loss, and the one of the untrained model. */
  evaluationLoss?: number;
  lossBefore?: number;
  best?: { readonly step: number; readonly loss: number };
  /** Evaluations in a row without a new lowest loss. */
  evaluationsWithoutGain: number;
}

/** The state of a run before its first step. */
export function initialLoopState(): LoopState {
  return { step: 0, epoch: 0, batch: 0, seconds: 0, evaluatedAt: -1, evaluationsWithoutGain: 0 };
}

export interface Checkpoint {
  readonly state: LoopState;
  readonly settings: TrainingSettings;
}

const FORMAT = 1;
/** A folder that has it is a checkpoint of ours. */
export const STATE_FILE = "state.json";
const PARAMETERS_FILE = "parameters.safetensors";
const OPTIMIZER_FILE = "optimizer.safetensors";
const LATEST_FILE = "latest";

/** `step-000123` */
export function checkpointName(step: number): string {
  return `step-${String(step).padStart(6, "0")}`;
}

/** The steps of all complete checkpoints in a folder, oldest first. */
export async function listCheckpoints(folder: string): Promise<number[]> {
  const names = await namesIn(folder);
  const steps = names.map((name) => /^step-(\d{6,})$/.exec(name)?.[1]);
  return steps
    .filter((step) => step !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

/**
 * Writes the checkpoint of `state.step` into `folder` and returns its path: under a temporary name,
 * flushed to the disk, then renamed. Where that step has a checkpoint already, its tensors are those
 * of `model` and only its state is brought up to date.
 */
export async function saveCheckpoint(
  folder: string,
  model: Model,
  optimizer: Optimizer,
  { state, settings }: Checkpoint,
): Promise<string> {
  const name = checkpointName(state.step);
  const target = join(folder, name);
  const content = { format: FORMAT, state, optimizerSteps: optimizer.stepCount, settings };
  const stateText = `${JSON.stringify(content, null, 2)}\n`;
  if ((await listCheckpoints(folder)).includes(state.step)) {
    await writeFileAtomically(join(target, STATE_FILE), stateText);
    return target;
  }
  await writeFolderAtomically(target, async (temporary) => {
    await model.saveAdapter(join(temporary, "adapter"));
    await writeTensors(
      join(temporary, PARAMETERS_FILE),
      lasting(model).map(({ name, shape, data }) => ({ name, shape, data })),
    );
    await writeTensors(
      join(temporary, OPTIMIZER_FILE),
      [...optimizer.state].map(([name, data]) => ({ name, shape: [data.length], data })),
    );
    await writeFileAtomically(join(temporary, STATE_FILE), stateText);
  });
  await pointToLatest(folder);
  return target;
}

/** Writes the name of the newest checkpoint into the file `latest`, for people and scripts. */
export async function pointToLatest(folder: string): Promise<void> {
  const newest = (await listCheckpoints(folder)).at(-1);
  if (newest === undefined) return;
  await writeFileAtomically(join(folder, LATEST_FILE), `${checkpointName(newest)}\n`);
}

/**
 * Fills the model and the optimizer from a checkpoint and returns the state of its loop.
 * @param changedMethod what the recipe says otherwise of the method than that of the run, in words
 * @throws TunesmithError (checkpoint, config) for a checkpoint that does not fit
 */
export async function loadCheckpoint(
  path: string,
  model: Model,
  optimizer: Optimizer,
  changedMethod?: string,
): Promise<Checkpoint> {
  const content = await readJsonObject(join(path, STATE_FILE));
  const { format, state, settings, optimizerSteps } = (content ?? {}) as unknown as Checkpoint & {
    format: unknown;
    optimizerSteps: number;
  };
  if (format !== FORMAT || !state || !settings)
    throw new TunesmithError("checkpoint", {
      where: join(path, STATE_FILE),
      rule: `a checkpoint's state has format ${FORMAT}`,
      seen: content ? `format ${JSON.stringify(format)}` : "no such file",
      fix: `delete ${path} to continue from the checkpoint before it`,
    });
  if (settings.optimizer !== optimizer.name)
    throw new TunesmithError("config", {
      where: "train.optimizer",
      rule: "a run continues with the optimizer that it began with",
      seen: `"${optimizer.name}", and "${settings.optimizer}" in ${path}`,
      fix: `set optimizer: ${settings.optimizer}, or start a new run`,
    });
  await readTensors(join(path, PARAMETERS_FILE), lasting(model), changedMethod);
  await readTensors(
    join(path, OPTIMIZER_FILE),
    [...optimizer.state].map(([name, data]) => ({ name, shape: [data.length], data })),
    changedMethod,
  );
  optimizer.restoreStepCount(optimizerSteps);
  // A run that began without keepBest has not kept it: there is nothing to go back to.
  const kept = await listCheckpoints(dirname(path));
  if (state.best && !kept.includes(state.best.step)) state.best = undefined;
  return { state, settings };
}

/** Fills the model alone, in full precision: what the best checkpoint is kept for. */
export async function loadParameters(path: string, model: Model): Promise<void> {
  await readTensors(join(path, PARAMETERS_FILE), lasting(model));
}

/** All that training changes: parameters, and what the method's schedule remembers. */
const lasting = ({ parameters, schedule }: Model): readonly NamedTensor[] => [
  ...parameters,
  ...(schedule?.state ?? []),
];

/** Removes all but the newest `keepLast` checkpoints and the one of step `best`. */
export async function pruneCheckpoints(
  folder: string,
  keepLast: number,
  best?: number,
): Promise<void> {
  const steps = await listCheckpoints(folder);
  for (const step of steps.slice(0, -keepLast))
    if (step !== best) await removeFolder(join(folder, checkpointName(step)));
}

type NamedTensor = Pick<Parameter, "name" | "shape" | "data">;

async function writeTensors(path: string, tensors: readonly NamedTensor[]): Promise<void> {
  await writeSafetensors(
    path,
    tensors.map((tensor) => ({ ...tensor, dtype: "F32" })),
  );
}

/** Fills `tensors` from a file that must hold exactly them; nothing is changed otherwise. */
async function readTensors(
  path: string,
  tensors: readonly NamedTensor[],
  changedMethod?: string,
): Promise<void> {
  const file = await openSafetensors(path);
  try {
    const seen =
      tensors
        .map(({ name, shape }) => {
          const stored = file.tensors.get(name);
          if (!stored) return `no "${name}"`;
          const same = stored.dtype === "F32" && String(stored.shape) === String(shape);
          return same
            ? ""
            : `"${name}" as ${stored.dtype} [${stored.shape}] instead of F32 [${shape}]`;
        })
        .find((difference) => difference !== "") ??
      (file.tensors.size === tensors.length ? undefined : "other tensors besides");
    if (seen)
      throw new TunesmithError("checkpoint", {
        where: path,
        rule: "a run continues with the model and the method that it began with",
        seen: changedMethod ? `${changedMethod} (${seen})` : seen,
        fix: "continue with the recipe of that run, or start a new run folder",
      });
    for (const { name, data } of tensors)
      await file.readInto(name, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  } finally {
    await file.close();
  }
}
