// Where the Python tools keep what they download, so that one copy serves both:
// HUB/models--owner--name/{blobs/<hash>, refs/<revision>, snapshots/<commit>/<file> → blobs},
// and datasets--owner--name alike.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { copyFile, readFile, stat, symlink, unlink } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import { makeFolder } from "../make-folder.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The Hugging Face home folder: HF_HOME, else XDG_CACHE_HOME's or ~/.cache's `huggingface`. */
function huggingFaceHome(env: Environment): string {
  const cache = env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return env.HF_HOME || join(cache, "huggingface");
}

/** The folder of all cached repositories. */
export function hubCacheFolder(env: Environment): string {
  return env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(huggingFaceHome(env), "hub");
}

/** Where tunesmith keeps what it can make again: TUNESMITH_CACHE, else `tunesmith` in the user's cache. */
export function ownCacheFolder(env: Environment): string {
  return env.TUNESMITH_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tunesmith");
}

/** True where HF_HUB_OFFLINE forbids the network. */
export function isOffline(env: Environment): boolean {
  return /^(1|true|yes|on)$/i.test(env.HF_HUB_OFFLINE ?? "");
}

/** The access token: HF_TOKEN, else the file that `hf auth login` writes. */
export async function hubToken(env: Environment): Promise<string | undefined> {
  const stated = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN;
  if (stated) return stated.trim();
  const path = env.HF_TOKEN_PATH || join(huggingFaceHome(env), "token");
  const text = await readFile(path, "utf8").catch(() => "");
  return text.trim() || undefined;
}

export type RepositoryKind = "model" | "dataset";

/** One repository's folder in the cache. */
export function repositoryFolder(cache: string, kind: RepositoryKind, repository: string): string {
  return join(cache, `${kind}s--${repository.replace("/", "--")}`);
}

/** The snapshot that a revision (branch, tag or commit) points at, where the cache holds it. */
export async function cachedSnapshot(folder: string, revision: string) {
  const commit = /^[0-9a-f]{40}$/.test(revision)
    ? revision
    : (await readFile(join(folder, "refs", revision), "utf8").catch(() => "")).trim();
  if (!/^[0-9a-f]{40}$/.test(commit)) return undefined;
  const path = join(folder, "snapshots", commit);
  return (await exists(path)) ? path : undefined;
}

/** Remembers which commit a branch or tag was at. */
export async function writeRef(folder: string, revision: string, commit: string): Promise<void> {
  if (revision !== commit) await writeFileAtomically(join(folder, "refs", revision), commit);
}

/** Puts a blob into a snapshot: by a relative link, or by a copy where the system allows no links. */
export async function linkBlob(blob: string, target: string): Promise<void> {
  await makeFolder(dirname(target));
  await unlink(target).catch(() => {});
  try {
    await symlink(relative(dirname(target), blob), target);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // Another process put it there a moment ago.
    if (code === "EEXIST") return;
    if (code !== "EPERM" && code !== "ENOSYS") throw error;
    await copyFile(blob, target);
  }
}

/** True where a file or folder (not a dangling link) is there. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/**
 * Whether a file is the one that `oid` names: its SHA-256 (large files), or the SHA-1 of a git blob.
 */
export async function matchesOid(path: string, oid: string): Promise<boolean> {
  const hash = createHash(oid.length === 64 ? "sha256" : "sha1");
  if (oid.length !== 64) hash.update(`blob ${(await stat(path)).size}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex") === oid;
}
