// Folders that are either wholly there or not there at all: filled under a temporary name, flushed to
// the disk, then renamed. What a killed process leaves behind is known by its name.

import { open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { makeFolder } from "../hub/index.ts";

const WRITING = ".writing-";
const REMOVING = ".removing-";

/**
 * Fills a folder under a temporary name, flushes every file of it, and renames it to `target`. What
 * was there before is replaced at the end; on failure it stays and the temporary folder is removed.
 */
export async function writeFolderAtomically(
  target: string,
  fill: (temporary: string) => Promise<void>,
): Promise<void> {
  const parent = dirname(target);
  const temporary = join(parent, WRITING + basename(target));
  await rm(temporary, { recursive: true, force: true });
  try {
    await makeFolder(temporary);
    await fill(temporary);
    await flushFolder(temporary);
    await removeFolder(target);
    await rename(temporary, target);
    await flush(parent);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    throw error;
  }
}

/** Removes a folder, renaming it first: a half-removed one never carries a name that is trusted. */
export async function removeFolder(path: string): Promise<void> {
  const doomed = join(dirname(path), REMOVING + basename(path));
  await rm(doomed, { recursive: true, force: true });
  try {
    await rename(path, doomed);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  await rm(doomed, { recursive: true, force: true });
}

/** Throws away what a killed process left unfinished directly in a folder. */
export async function removeUnfinished(folder: string): Promise<void> {
  for (const name of await namesIn(folder))
    if (name.startsWith(WRITING) || name.startsWith(REMOVING) || /^\..+\.tmp$/.test(name))
      await rm(join(folder, name), { recursive: true, force: true });
}

/** The names in a folder; none where there is no such folder. */
export async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

async function flushFolder(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    await (entry.isDirectory() ? flushFolder(path) : flush(path));
  }
  await flush(folder);
}

/** Windows neither opens folders nor flushes what is open for reading. */
const CANNOT_FLUSH = new Set(["EPERM", "EACCES", "EISDIR", "EINVAL"]);

async function flush(path: string): Promise<void> {
  try {
    const handle = await open(path, "r");
    await handle.sync().finally(() => handle.close());
  } catch (error) {
    if (!CANNOT_FLUSH.has((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}
