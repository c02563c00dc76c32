// Files that are either wholly there or not there at all: written under a temporary name in the same
// folder, flushed to the disk, then renamed over the old one.

import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { TunesmithError } from "../errors.ts";
import { makeFolder } from "./make-folder.ts";

let counter = 0;

/**
 * Writes `path` through `write`; on any failure the old file stays as it was and the temporary one is
 * removed. Missing parent folders are made. Throws a TunesmithError ("run") where the system refuses.
 */
export async function writeAtomically(
  path: string,
  write: (file: FileHandle) => Promise<void>,
): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}.${counter++}.tmp`);
  try {
    await makeFolder(folder);
    const file = await open(temporary, "wx");
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw asWriteFault(path, error);
  }
  await syncFolder(folder);
}

/** Writes a string or bytes with `writeAtomically`. */
export async function writeFileAtomically(path: string, content: string | Uint8Array) {
  await writeAtomically(path, (file) => file.writeFile(content));
}

/** A rename survives a power cut only once its folder is flushed; not every system lets one do that. */
async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, "r");
    await handle.sync().finally(() => handle.close());
  } catch {
    // Windows refuses to open a folder; the file itself is already safe.
  }
}

const WRITE_FAULTS: Record<string, { seen: string; fix: string }> = {
  ENOSPC: { seen: "the disk is full", fix: "free some space, then run the command again" },
  EDQUOT: { seen: "the disk quota is used up", fix: "free some space, then run it again" },
  EACCES: { seen: "no permission to write there", fix: "choose a folder that you may write to" },
  EPERM: { seen: "no permission to write there", fix: "choose a folder that you may write to" },
  EROFS: { seen: "the file system is read-only", fix: "choose a folder that you may write to" },
  ENOENT: { seen: "no file can be made there", fix: "choose another folder for the output" },
  ENOTDIR: { seen: "a part of the path is a file", fix: "choose a folder for the output" },
  EEXIST: { seen: "a part of the path is a file", fix: "choose a folder for the output" },
  EISDIR: { seen: "a folder has that name", fix: "move the folder away or choose another name" },
};

function asWriteFault(path: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException | undefined)?.code ?? "";
  const fault = WRITE_FAULTS[code];
  if (!fault) return error;
  const rule = "the file must be writable; what was there before is untouched";
  return new TunesmithError("run", { where: path, rule, ...fault }, { cause: error });
}
