// One process at a time works in a run folder. The lock is a file that names its owner, so that the
// lock of a process that died (kill -9, a crash, a power cut) can be told from one that is held.

import { constants } from "node:fs";
import { copyFile, link, readFile, rename, rm, unlink, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { TunesmithError } from "../errors.ts";
import { namesIn } from "./atomic-folder.ts";

const LOCK_FILE = "run.lock";

interface LockOwner {
  readonly pid: number;
  readonly host: string;
  /** Tells a process from a later one that was given the same number. Known on Linux only. */
  readonly birth?: string;
  readonly since: string;
}

/**
 * Takes the lock of a run folder, over from a dead owner if need be, and returns what releases it.
 * Throws a TunesmithError ("run") where a living process, or one on another host, holds it, and where
 * the lock cannot be read.
 */
export async function takeRunLock(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, LOCK_FILE);
  const owner: LockOwner = {
    pid: process.pid,
    host: hostname(),
    birth: await birthOf(process.pid),
    since: new Date().toISOString(),
  };
  const text = `${JSON.stringify(owner)}\n`;
  while (!(await createWhole(path, text))) {
    const seen = await readLock(path);
    // Released in this moment: try again.
    if (seen === undefined) continue;
    if (await isHeld(seen)) throw inUse(folder, path, seen);
    await discard(path, seen);
  }
  await removeLeftovers(folder);
  return async () => {
    // Only one's own: after a suspended machine another process may have taken over.
    if ((await readFile(path, "utf8").catch(() => undefined)) === text) await unlink(path);
  };
}

/** The text of a lock; undefined where there is none. Any other failure would last, so it is told. */
async function readLock(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new TunesmithError(
      "run",
      {
        where: path,
        rule: "the lock of a run folder must be a file that can be read",
        seen: (error as Error).message,
        fix: "give another run folder, or make it readable; delete it if no process works there",
      },
      { cause: error },
    );
  }
}

let counter = 0;

/** A name that says which process made it, so that what a killed one left can be removed. */
function uniqueBeside(path: string): string {
  return `${path}.${process.pid}.${counter++}`;
}

/** Creates a file that has its content from the first moment; false where the name is taken. */
async function createWhole(path: string, text: string): Promise<boolean> {
  const temporary = uniqueBeside(path);
  await writeFile(temporary, text);
  try {
    await link(temporary, path).catch(async (error: NodeJS.ErrnoException) => {
      // Some file systems (FAT, some network shares) have no hard links.
      if (error.code === "EEXIST") throw error;
      await copyFile(temporary, path, constants.COPYFILE_EXCL);
    });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

/** Removes a dead owner's lock, unless another process was quicker and holds its own by now. */
async function discard(path: string, dead: string): Promise<void> {
  const aside = uniqueBeside(path);
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  if ((await readFile(aside, "utf8")) !== dead) await link(aside, path).catch(() => {});
  await rm(aside, { force: true });
}

/** Files that other processes had beside the lock when they were killed. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    const pid = /^run\.lock\.(\d+)/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) await rm(join(folder, name), { force: true });
  }
}

async function isHeld(text: string): Promise<boolean> {
  const owner = parseOwner(text);
  if (!owner) return false;
  if (owner.host !== hostname()) return true;
  if (!isAlive(owner.pid)) return false;
  const birth = await birthOf(owner.pid);
  return birth === undefined || owner.birth === undefined || birth === owner.birth;
}

function parseOwner(text: string): LockOwner | undefined {
  try {
    const owner = JSON.parse(text) as LockOwner;
    return Number.isSafeInteger(owner.pid) && owner.pid > 0 ? owner : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Boot and start time of a process (field 22 of /proc/PID/stat, counted after the name in brackets). */
async function birthOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A process that ended but was not yet collected by its parent holds nothing any more.
    if (fields[0] === "Z") return "ended";
    return `${boot.trim()}:${fields[19]}`;
  } catch {
    return undefined;
  }
}

function inUse(folder: string, path: string, text: string): TunesmithError {
  const { pid, host, since } = parseOwner(text)!;
  const here = host === hostname();
  return new TunesmithError("run", {
    where: folder,
    rule: "a run folder is used by one process at a time",
    seen: `process ${pid} on ${host} has worked in it since ${since}`,
    fix: here
      ? "wait for it or stop it, or give another run folder"
      : `give another run folder, or delete ${path} if that process is gone`,
  });
}
