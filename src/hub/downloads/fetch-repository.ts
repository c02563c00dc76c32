// One repository of the Hugging Face hub, a model's or a dataset's, brought into the cache that the
// Python tools share, through the hub's official client: resumed where it broke off, checked against
// the hub's hashes, offline on wish. Which of its files are wanted is the caller's choice.

import { createWriteStream } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import {
  datasetInfo,
  downloadFile,
  HubApiError,
  type ListFileEntry,
  listFiles,
  modelInfo,
} from "@huggingface/hub";
import { TunesmithError } from "../../errors.ts";
import {
  cachedSnapshot,
  type Environment,
  exists,
  hubCacheFolder,
  hubToken,
  isOffline,
  linkBlob,
  matchesOid,
  type RepositoryKind,
  repositoryFolder,
  writeRef,
} from "./hub-cache.ts";
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
  const session: Session = {
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

const FAULT_CODES = { model: "checkpoint", dataset: "data" } as const satisfies Record<
  RepositoryKind,
  unknown
>;

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

interface Session {
  readonly kind: RepositoryKind;
  readonly name: string;
  readonly revision: string;
  /** The repository's folder in the cache. */
  readonly folder: string;
  readonly accessToken: string | undefined;
  readonly hubUrl: string | undefined;
  readonly fetch: typeof fetch;
  readonly signal: AbortSignal | undefined;
}

/** The client distinguishes a missing option from an undefined one only in its types. */
function clientOptions({ accessToken, hubUrl, fetch }: Session) {
  return { fetch, ...(accessToken && { accessToken }), ...(hubUrl && { hubUrl }) };
}

function repoOf({ kind, name }: Session) {
  return { type: kind, name } as const;
}

async function download(
  request: RepositoryRequest,
  session: Session,
  options: DownloadOptions,
): Promise<Snapshot> {
  const { folder, revision } = session;
  const commit = await commitOf(session);
  const entries = new Map<string, ListFileEntry>();
  const listing = { ...clientOptions(session), repo: repoOf(session), revision: commit };
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

async function commitOf(session: Session): Promise<string> {
  const { kind, name, revision } = session;
  const asked = { ...clientOptions(session), name, revision };
  const { sha } =
    kind === "model"
      ? await modelInfo({ ...asked, additionalFields: ["sha"] })
      : await datasetInfo({ ...asked, additionalFields: ["sha"] });
  if (/^[0-9a-f]{40}$/.test(sha)) return sha;
  throw new TunesmithError(FAULT_CODES[kind], {
    where: `hf://${name}`,
    rule: "the hub names the revision's commit",
    seen: "another answer",
    fix: "check HF_ENDPOINT",
  });
}

const ATTEMPTS = 3;

/** Fetches one file into `blobs/`, going on where an earlier attempt (or the Python tools) stopped. */
async function fetchBlob(
  file: ListFileEntry,
  commit: string,
  session: Session,
  report: (bytes: number) => void,
): Promise<string> {
  const oid = file.lfs?.oid ?? file.oid;
  if (!oid || !/^[0-9a-f]{40}(?:[0-9a-f]{24})?$/.test(oid))
    throw new TunesmithError(FAULT_CODES[session.kind], {
      where: `hf://${session.name}`,
      rule: "the hub names each file's hash",
      seen: `none for ${file.path}`,
      fix: "try again later",
    });
  const blob = join(session.folder, "blobs", oid);
  if (await exists(blob)) return blob;
  const incomplete = `${blob}.incomplete`;
  await mkdir(dirname(blob), { recursive: true });
  for (let attempt = 1; ; attempt++) {
    try {
      await continueDownload(file, commit, incomplete, session, report);
      if (await matchesOid(incomplete, oid)) break;
      await rm(incomplete);
      throw new Error(`${file.path} arrived damaged`);
    } catch (error) {
      session.signal?.throwIfAborted();
      if (attempt === ATTEMPTS || error instanceof HubApiError) throw error;
    }
  }
  await rename(incomplete, blob);
  return blob;
}

async function continueDownload(
  file: ListFileEntry,
  commit: string,
  incomplete: string,
  session: Session,
  report: (bytes: number) => void,
): Promise<void> {
  let loaded = await stat(incomplete).then(
    ({ size }) => size,
    () => 0,
  );
  if (loaded > file.size) {
    await rm(incomplete);
    loaded = 0;
  }
  report(loaded);
  if (loaded === file.size && file.size > 0) return;
  const remote = await downloadFile({
    ...clientOptions(session),
    repo: repoOf(session),
    path: file.path,
    revision: commit,
  });
  if (!remote) throw new Error(`the hub no longer has ${file.path}`);
  const rest = loaded > 0 ? remote.slice(loaded, file.size) : remote;
  await pipeline(
    Readable.fromWeb(rest.stream() as ReadableStream<Uint8Array>),
    async function* (chunks: AsyncIterable<Uint8Array>) {
      for await (const chunk of chunks) {
        loaded += chunk.byteLength;
        report(loaded);
        yield chunk;
      }
    },
    createWriteStream(incomplete, { flags: "a" }),
  );
}

const STATUS_FIXES: Readonly<Record<number, string>> = {
  401: "check the spelling; for a private or gated one set HF_TOKEN",
  403: "accept its conditions on its page, and set HF_TOKEN",
  404: "check the spelling of the id and the revision; a local path must exist",
  429: "wait a while; with HF_TOKEN set the limits are higher",
};

function apiFault(
  { kind, reference }: RepositoryRequest,
  error: unknown,
  sibling?: string,
): TunesmithError {
  const isAnswer = error instanceof HubApiError;
  return new TunesmithError(
    "api",
    {
      where: `${kind} "${reference}"`,
      rule: `no such path, so it must be a ${kind} that the hub lets us download`,
      seen: isAnswer ? `the hub answered ${error.statusCode}` : networkReason(error),
      fix:
        (sibling && `if you meant the path, write ${sibling}`) ??
        (isAnswer ? STATUS_FIXES[error.statusCode] : undefined) ??
        "check the network, then run the command again: the download goes on where it stopped",
    },
    { cause: error },
  );
}

function networkReason(error: unknown): string {
  const { message, cause } =
    error instanceof Error ? error : { message: String(error), cause: null };
  const detail = cause instanceof Error ? ` (${cause.message})` : "";
  return `${message}${detail}`.slice(0, 200);
}
