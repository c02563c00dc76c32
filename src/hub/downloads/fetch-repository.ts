// One repository of the Hugging Face hub, a model's or a dataset's, brought into the cache that the
// Python tools share, through the hub's official client: resumed where it broke off, checked against
// the hub's hashes, offline on wish. Which of its files are wanted is the caller's choice.

import { readdir, readFile } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import { HubApiError, type ListFileEntry, listFiles } from "@huggingface/hub";
import { TunesmithError } from "../../errors.ts";
import { apiFault } from "./api-fault.ts";
import { fetchBlob } from "./fetch-blob.ts";
import {
  cachedSnapshot,
  type Environment,
  exists,
  hubCacheFolder,
  hubToken,
  isOffline,
  linkBlob,
  type RepositoryKind,
  repositoryFolder,
  writeRef,
} from "./hub-cache.ts";
import {
  clientOptions,
  commitOf,
  FAULT_CODES,
  type HubSession,
  repositoryOf,
} from "./hub-session.ts";
import { nearestSibling } from "./model-reference.ts";

export interface DownloadProgress {
  /** The file being fetched. */
  readonly file: string;
  /** Bytes of all wanted files that are here, and of all of them. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface DownloadOptions {
  readonly onProgress?: (progress: DownloadProgress) => void;
  readonly signal?: AbortSignal;
  /** Another hub, such as a mirror; default HF_ENDPOINT or the public one. */
  readonly hubUrl?: string;
  /** Default HF_TOKEN, or the token that `hf auth login` stored. */
  readonly token?: string;
  /** Where HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and the others are looked up. */
  readonly environment?: Environment;
}

export interface RepositoryRequest {
  readonly kind: RepositoryKind;
  /** What the person wrote; faults name it. */
  readonly reference: string;
  /** `owner/name`. */
  readonly repository: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /**
   * The wanted ones of the repository's files (paths with `/`), looked for on the hub or in the cache.
   * `readText` gives the content of one of them. Throws a TunesmithError where they do not do.
   */
  choose(
    paths: readonly string[],
    readText: (path: string) => Promise<string>,
  ): Promise<readonly string[]>;
}

/** A repository at one commit, in the cache. */
export interface Snapshot {
  readonly folder: string;
  /** The wanted files, as `choose` named them. */
  readonly files: readonly string[];
}

/**
 * The wanted files of a repository, downloaded unless the cache holds them. Where the hub cannot be
 * reached, or may not be (HF_HUB_OFFLINE), the cache alone serves.
 *
 * @throws TunesmithError (checkpoint, data, api); the signal's reason where it is aborted.
 */
export async function fetchRepository(
  request: RepositoryRequest,
  options: DownloadOptions = {},
): Promise<Snapshot> {
  const env = options.environment ?? process.env;
  const { kind, reference, repository, revision } = request;
  const folder = repositoryFolder(hubCacheFolder(env), kind, repository);
  if (isOffline(env)) {
    const cached = await fromCache(request, folder);
    if (cached) return cached;
    throw new TunesmithError(FAULT_CODES[kind], {
      where: reference,
      rule: `offline, a ${kind} must be in the cache`,
      seen: `nothing in ${folder}`,
      fix: "unset HF_HUB_OFFLINE once to download it, or name a folder",
    });
  }
  const { signal } = options;
  const session: HubSession = {
    kind,
    name: repository,
    revision,
    folder,
    accessToken: options.token ?? (await hubToken(env)),
    hubUrl: options.hubUrl ?? env.HF_ENDPOINT,
    signal,
    fetch: signal
      ? (input, init) => fetch(input, { ...init, signal })
      : (input, init) => fetch(input, init),
  };
  try {
    return await download(request, session, options);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof TunesmithError) throw error;
    const cached = error instanceof HubApiError ? undefined : await fromCache(request, folder);
    if (cached) return cached;
    throw apiFault(request, error, await nearestSibling(reference));
  }
}

/** What the cache holds of it, unless that does not do: the Python tools may have begun a snapshot. */
async function fromCache(
  { revision, choose }: RepositoryRequest,
  folder: string,
): Promise<Snapshot | undefined> {
  const snapshot = await cachedSnapshot(folder, revision);
  if (snapshot === undefined) return undefined;
  const entries = await readdir(snapshot, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(snapshot, join(entry.parentPath, entry.name)).replaceAll(sep, "/"));
  try {
    const files = await choose(paths, (path) => readFile(join(snapshot, path), "utf8"));
    return { folder: snapshot, files };
  } catch (error) {
    if (error instanceof TunesmithError) return undefined;
    throw error;
  }
}

async function download(
  request: RepositoryRequest,
  session: HubSession,
  options: DownloadOptions,
): Promise<Snapshot> {
  const { folder, revision } = session;
  const commit = await commitOf(session);
  const entries = new Map<string, ListFileEntry>();
  const listing = { ...clientOptions(session), repo: repositoryOf(session), revision: commit };
  for await (const entry of listFiles({ ...listing, recursive: true }))
    if (entry.type === "file") entries.set(entry.path, entry);
  const snapshot = join(folder, "snapshots", commit);
  const fetched = async (path: string, report: (bytes: number) => void) => {
    const target = join(snapshot, path);
    return (await exists(target)) ? target : fetchBlob(entries.get(path)!, commit, session, report);
  };

  const files = await request.choose([...entries.keys()], async (path) =>
    readFile(await fetched(path, () => {}), "utf8"),
  );
  const totalBytes = files.reduce((sum, path) => sum + entries.get(path)!.size, 0);
  let finishedBytes = 0;
  const places: { blob: string; target: string }[] = [];
  for (const file of files) {
    const report = (bytes: number) =>
      options.onProgress?.({ file, loadedBytes: finishedBytes + bytes, totalBytes });
    places.push({ blob: await fetched(file, report), target: join(snapshot, file) });
    const { size } = entries.get(file)!;
    report(size);
    finishedBytes += size;
  }
  // All at once and last, so that what a snapshot holds of a selection is all of it.
  for (const { blob, target } of places) if (blob !== target) await linkBlob(blob, target);
  await writeRef(folder, revision, commit);
  return { folder: snapshot, files };
}
