// Making a folder with those above it. Node's own recursive `mkdir` never returns where a file system takes
// no folders (/proc): it makes the parent, which is there, again and again.

import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { TunesmithError } from "../errors.ts";

/**
 * Makes a folder, and those above it that are missing.
 *
 * @throws TunesmithError (run) where there can be none; the system's error for a full disk and the like
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await makeAll(path);
  } catch (error) {
    throw asFolderFault(path, error);
  }
}

async function makeAll(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    if (await isFolder(path)) return;
    const above = dirname(path);
    const isMissing = (error as NodeJS.ErrnoException).code === "ENOENT";
    if (!isMissing || above === path) throw error;
    if (!(await isFolder(above))) await makeAll(above);
    // Once more, for somebody else may have made either meanwhile.
    await mkdir(path).catch(async (again: unknown) => {
      if (!(await isFolder(path))) throw again;
    });
  }
}

const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() ?? false;

const FOLDER_FAULTS = new Set([
  "EACCES",
  "EPERM",
  "EROFS",
  "ENOENT",
  "ENOTDIR",
  "EEXIST",
  "ENAMETOOLONG",
]);

/** An error of the system over a folder, as one that says what to do; others as they are. */
export function asFolderFault(path: string, error: unknown): unknown {
  if (!FOLDER_FAULTS.has((error as NodeJS.ErrnoException).code ?? "")) return error;
  return new TunesmithError(
    "run",
    {
      where: path,
      rule: "the folder must be one that can be written to",
      seen: (error as Error).message,
      fix: "choose another folder, or change its permissions",
    },
    { cause: error },
  );
}
