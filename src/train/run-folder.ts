// The folder of a run: what lies where, who may begin in it, and what an earlier run left there.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { TunesmithError } from "../errors.ts";
import { asFolderFault, makeFolder, readTextIfPresent, writeFileAtomically } from "../hub/index.ts";
import { namesIn, removeUnfinished } from "./atomic-folder.ts";
import { checkpointName, listCheckpoints, pointToLatest, STATE_FILE } from "./checkpoint.ts";
import { takeRunLock } from "./run-lock.ts";

/** The names in a run folder. */
export const RUN_FILES = {
  recipe: "recipe.yaml",
  metrics: "metrics.jsonl",
  picture: "loss.svg",
  checkpoints: "checkpoints",
  adapter: "adapter",
  /** TensorBoard looks through all folders below the one that it is given. */
  tensorboard: "tensorboard",
  /** Written at the very end: a folder that has it holds a finished run. */
  summary: "run.json",
} as const;

export interface RunFolderOptions {
  /** Continue the run that the folder holds; begin one where it holds none. */
  readonly resume?: boolean;
  /** Remove the run that the folder holds. */
  readonly overwrite?: boolean;
  /** Kept as recipe.yaml, so that the run can be repeated. */
  readonly recipeText?: string;
}

export interface RunFolder {
  readonly path: string;
  readonly paths: Readonly<Record<keyof typeof RUN_FILES, string>>;
  /** The recipe of the run that was there before, where one was kept. */
  readonly earlierRecipe?: string;
  /** The newest complete checkpoint. */
  latestCheckpoint(): Promise<string | undefined>;
  /**
   * Takes away the mark of a finished run and keeps the new recipe. Not sooner than the run is sure to
   * go on: a checkpoint that does not fit leaves the folder as it was.
   */
  begin(): Promise<void>;
  /** Lets go of the lock. */
  close(): Promise<void>;
}

/**
 * Takes a run folder for this process: makes it, locks it, and refuses or clears what an earlier run
 * left, as the options say. Throws a TunesmithError ("run") where the folder is taken.
 */
export async function openRunFolder(path: string, options: RunFolderOptions): Promise<RunFolder> {
  const paths = pathsIn(path);
  if (options.resume && options.overwrite) throw contradiction();
  const release = await lockFolder(path);
  let earlierRecipe: string | undefined;
  try {
    earlierRecipe = await readTextIfPresent(paths.recipe);
    await clearFolder(path, paths, options);
  } catch (error) {
    await release();
    throw asFolderFault(path, error);
  }
  return {
    path,
    paths,
    earlierRecipe,
    async latestCheckpoint() {
      const newest = (await listCheckpoints(paths.checkpoints)).at(-1);
      return newest === undefined ? undefined : join(paths.checkpoints, checkpointName(newest));
    },
    async begin() {
      try {
        await rm(paths.summary, { force: true });
        if (options.recipeText !== undefined)
          await writeFileAtomically(paths.recipe, options.recipeText);
      } catch (error) {
        throw asFolderFault(path, error);
      }
    },
    close: release,
  };
}

/**
 * Throws what `openRunFolder` would throw, and changes nothing in the folder (a missing one is made):
 * for callers who would load a model first. Throws a TunesmithError ("run") where the folder is taken.
 */
export async function checkRunFolder(path: string, options: RunFolderOptions): Promise<void> {
  if (options.resume && options.overwrite) throw contradiction();
  const release = await lockFolder(path);
  try {
    await refuseTakenFolder(path, pathsIn(path), options);
  } catch (error) {
    throw asFolderFault(path, error);
  } finally {
    await release();
  }
}

/** The adapter in the newest complete checkpoint of a run folder. */
export async function latestAdapter(path: string): Promise<string | undefined> {
  const { checkpoints } = pathsIn(path);
  const newest = (await listCheckpoints(checkpoints)).at(-1);
  return newest === undefined ? undefined : join(checkpoints, checkpointName(newest), "adapter");
}

function pathsIn(path: string): RunFolder["paths"] {
  const paths = Object.entries(RUN_FILES).map(([key, name]) => [key, join(path, name)]);
  return Object.fromEntries(paths) as RunFolder["paths"];
}

async function lockFolder(path: string): Promise<() => Promise<void>> {
  try {
    await makeFolder(path);
    return await takeRunLock(path);
  } catch (error) {
    throw asFolderFault(path, error);
  }
}

async function clearFolder(
  path: string,
  paths: RunFolder["paths"],
  options: RunFolderOptions,
): Promise<void> {
  const { overwrite } = options;
  await refuseTakenFolder(path, paths, options);
  if (overwrite)
    for (const target of Object.values(paths)) await rm(target, { recursive: true, force: true });
  await makeFolder(paths.checkpoints);
  const checkpoints = (await listCheckpoints(paths.checkpoints)).map((step) =>
    join(paths.checkpoints, checkpointName(step)),
  );
  for (const folder of [path, paths.checkpoints, ...checkpoints]) await removeUnfinished(folder);
  await pointToLatest(paths.checkpoints);
}

/**
 * Throws where a run would destroy something: results of an earlier run that the options do not speak
 * of, or files of somebody else under the names of a run, which no option gives away. A run that died
 * before its first checkpoint is nothing to keep.
 */
async function refuseTakenFolder(
  path: string,
  paths: RunFolder["paths"],
  { resume, overwrite, recipeText }: RunFolderOptions,
): Promise<void> {
  const refuse = (rule: string, seen: string, fix: string) =>
    new TunesmithError("run", { where: path, rule, seen, fix });
  const foreign = await findForeign(path, paths, recipeText);
  if (foreign.length > 0)
    throw refuse(
      "a run replaces no files but those of an earlier run",
      `files that it would replace (${foreign.join(", ")})`,
      "give another run folder, or move them away",
    );
  if (resume || overwrite) return;
  const rule = "a new run needs a folder without an earlier run";
  if ((await namesIn(path)).includes(RUN_FILES.summary))
    throw refuse(
      rule,
      "a run that is finished",
      "give another run folder, or overwrite this one (--overwrite)",
    );
  const steps = await listCheckpoints(paths.checkpoints);
  if (steps.length > 0)
    throw refuse(
      rule,
      `a run that stopped after step ${steps.at(-1)}`,
      "continue it with resume (--resume), overwrite it (--overwrite), or give another folder",
    );
}

/** What lies under the names of a run in a folder that no run of ours has left its mark in. */
async function findForeign(
  path: string,
  paths: RunFolder["paths"],
  recipeText?: string,
): Promise<string[]> {
  const names = await namesIn(path);
  if (names.includes(RUN_FILES.summary)) return [];
  const inCheckpoints = await namesIn(paths.checkpoints);
  for (const step of await listCheckpoints(paths.checkpoints))
    if ((await namesIn(join(paths.checkpoints, checkpointName(step)))).includes(STATE_FILE))
      return [];
  const onlyOurs = inCheckpoints.every((name) => name === "latest" || name.startsWith("."));
  // A run that died before its first checkpoint: those two are made when it begins.
  const began = names.includes(RUN_FILES.checkpoints) && names.includes(RUN_FILES.metrics);
  if (began && onlyOurs) return [];
  const sameRecipe = (await readTextIfPresent(paths.recipe)) === recipeText;
  const harmless = (name: string) =>
    (name === RUN_FILES.recipe && sameRecipe) || (name === RUN_FILES.checkpoints && onlyOurs);
  const ours = new Set<string>(Object.values(RUN_FILES));
  return names.filter((name) => ours.has(name) && !harmless(name));
}

function contradiction(): TunesmithError {
  return new TunesmithError("config", {
    where: "resume, overwrite",
    rule: "a run is either continued or replaced",
    seen: "both were asked for",
    fix: "give one of the two",
  });
}
