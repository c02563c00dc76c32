// One process at a time works in a run folder. The lock is a file that names its owner, so that the
// lock of a process that died (kill -9, a crash, a power cut) can be told from one that is held.

import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, link, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { TunesmithError } from "../errors.ts";
import { namesIn } from "./atomic-folder.ts";

const LOCK_FILE = "run.lock";

interface LockOwner {
  readonly pid: number;
  readonly host: string;
  /** Tells a process from a later one that was given the same number. Known on Linux only. */
  readonly birth?: string;
  readonly since: string;
  /** Tells what one process took in the same millisecond. */
  readonly serial?: number;
}

/**
 * Takes the lock of a run folder, over from a dead owner if need be, and returns what releases it.
 * Throws a TunesmithError ("run") where a living process, or one on another host, holds it, and where
 * the lock cannot be read.
 */
export async function takeRunLock(folder: string): Promise<() => Promise<void>> {
  const release = await takeLock(join(folder, LOCK_FILE));
  await removeLeftovers(folder);
  return release;
}

async function takeLock(path: string): Promise<() => Promise<void>> {
  const owner: LockOwner = {
    pid: process.pid,
    host: hostname(),
    birth: await birthOf(process.pid),
    since: new Date().toISOString(),
    serial: counter++,
  };
  const text = `${JSON.stringify(owner)}\n`;
  for (let tries = 1; !(await createWhole(path, text)); tries++) {
    const seen = await readLock(path);
    // Released in this moment: try again.
    if (seen === undefined) continue;
    if (await isHeld(seen)) throw inUse(path, seen);
    await discard(path, seen, tries);
  }
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

/**
 * Removes a dead owner's lock. Between seeing that it is the dead one's and removing it, nobody may put
 * another in its place, so whoever does this holds a lock of its own, named by the dead one. That one
 * may be left by a dead process too, and is discarded in the same way.
 */
async function discard(path: string, dead: string, tries: number): Promise<void> {
  const release = await takeLock(discardingLockOf(path, dead)).catch(async (error) => {
    // Another one is at it, which takes it a moment, unless it was stopped there.
    if (!(error instanceof TunesmithError) || tries > 200) throw error;
    await setTimeout(10);
  });
  if (!release) return;
  if ((await readLock(path)) === dead) await unlink(path);
  await release();
}

const discardingLockOf = (path: string, dead: string): string =>
  join(
    dirname(path),
    `${LOCK_FILE}.after-${createHash("sha256").update(dead).digest("hex").slice(0, 16)}`,
  );

/** Files that other processes had beside the lock when they were killed. */
async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await namesIn(folder)) {
    const path = join(folder, name);
    const pid = /^run\.lock\.(\d+)\.\d+$/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) await rm(path, { force: true });
    if (!name.startsWith(`${LOCK_FILE}.after-`)) continue;
    const text = await readLock(path);
    if (text !== undefined && !(await isHeld(text))) await discard(path, text, 1);
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

function inUse(path: string, text: string): TunesmithError {
  const { pid, host, since } = parseOwner(text)!;
  const here = host === hostname();
  return new TunesmithError("run", {
    where: dirname(path),
    rule: "a run folder is used by one process at a time",
    seen: `process ${pid} on ${host} has worked in it since ${since}`,
    fix: here
      ? "wait for it or stop it, or give another run folder"
      : `give another run folder, or delete ${path} if that process is gone`,
  });
}
