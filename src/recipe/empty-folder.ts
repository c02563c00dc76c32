// Whatever writes a whole folder, or a file of its own, writes it where nothing is yet.

import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { TunesmithError } from "../errors.ts";

/**
 * @param what is about to be written, as `a merged model`
 * @throws TunesmithError (run) for a file, and for a folder that holds something
 */
export async function requireEmpty(folder: string, what: string): Promise<void> {
  const present = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new TunesmithError(
      "run",
      {
        where: folder,
        rule: `${what} is written into a folder`,
        seen: error.code === "ENOTDIR" ? "a file" : error.message,
        fix: "give another folder",
      },
      { cause: error },
    );
  });
  if (present.length === 0) return;
  throw new TunesmithError("run", {
    where: folder,
    rule: `${what} does not overwrite files`,
    seen: `a folder with ${present.length} files`,
    fix: "give a folder that is empty or does not exist yet",
  });
}

/**
 * Fills a folder that is empty or absent. What fails, or is aborted, leaves it so.
 *
 * @param what is written, as `a merged model`
 * @throws TunesmithError (run) for a file, and for a folder that holds something
 */
export async function fillEmpty<Result>(
  folder: string,
  what: string,
  fill: () => Promise<Result>,
): Promise<Result> {
  await requireEmpty(folder, what);
  const isThere = await stat(folder).then(
    () => true,
    () => false,
  );
  try {
    return await fill();
  } catch (error) {
    const written = isThere ? await readdir(folder) : [""];
    for (const name of written) await rm(join(folder, name), { recursive: true, force: true });
    throw error;
  }
}

/**
 * @param what is about to be written, as `an exported model`
 * @throws TunesmithError (run) where something of that name is
 */
export async function requireAbsent(file: string, what: string): Promise<void> {
  const present = await stat(file).catch(() => undefined);
  if (!present) return;
  throw new TunesmithError("run", {
    where: file,
    rule: `${what} does not overwrite a file`,
    seen: present.isDirectory() ? "a folder of that name" : "a file of that name",
    fix: "give a file that does not exist yet, such as new.gguf",
  });
}
