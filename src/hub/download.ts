// Brings a model from the Hugging Face hub into the cache that the Python tools share, through the
// hub's official client: resumed where it broke off, checked against the hub's hashes, offline on wish.

import { createWriteStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import {
  downloadFile,
  HubApiError,
  type ListFileEntry,
  listFiles,
  modelInfo,
} from "@huggingface/hub";
import { TunesmithError } from "../errors.ts";
import {
  cachedSnapshot,
  type Environment,
  exists,
  hubCacheFolder,
  hubToken,
  isOffline,
  linkBlob,
  matchesOid,
  repositoryFolder,
  writeRef,
} from "./hub-cache.ts";
import {
  type HubReference,
  nearestSibling,
  noSuchModel,
  parseHubReference,
} from "./model-reference.ts";

export interface DownloadProgress {
  /** The file being fetched. */
  readonly file: string;
  /** Bytes of all the model's files that are here, and of all of them. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface ResolveModelOptions {
  readonly onProgress?: (progress: DownloadProgress) => void;
  readonly signal?: AbortSignal;
  /** Another hub, such as a mirror; default HF_ENDPOINT or the public one. */
  readonly hubUrl?: string;
  /** Default HF_TOKEN, or the token that `hf auth login` stored. */
  readonly token?: string;
  /** Where HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and the others are looked up. */
  readonly environment?: Environment;
}

/**
 * The local folder or `.gguf` file of a model. A path that exists wins; else a hub id
 * (`owner/name`, `owner/name@revision`, `owner/name/file.gguf`, with or without `hf://`) is
 * downloaded unless the cache holds it. Throws a TunesmithError for what is neither.
 *
 *     const folder = await resolveModel("HuggingFaceTB/SmolLM2-135M-Instruct");
 */
export async function resolveModel(
  reference: string,
  options: ResolveModelOptions = {},
): Promise<string> {
  if (await exists(reference)) return reference;
  const parsed = parseHubReference(reference);
  if (!parsed) throw await noSuchModel(reference);
  const env = options.environment ?? process.env;
  const folder = repositoryFolder(hubCacheFolder(env), parsed.repository);
  const cached = await cachedSnapshot(folder, parsed.revision);
  if (isOffline(env)) {
    if (cached && (await isWhole(cached, parsed))) return modelPath(cached, parsed);
    throw fault(reference, "offline, a model must be in the cache", `nothing in ${folder}`, {
      fix: "unset HF_HUB_OFFLINE once to download it, or name a folder",
    });
  }
  const { signal } = options;
  const session: Session = {
    repo: parsed.repository,
    accessToken: options.token ?? (await hubToken(env)),
    hubUrl: options.hubUrl ?? env.HF_ENDPOINT,
    signal,
    fetch: signal
      ? (input, init) => fetch(input, { ...init, signal })
      : (input, init) => fetch(input, init),
  };
  try {
    return await download(parsed, folder, session, options);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof TunesmithError) throw error;
    const isNetworkFault = !(error instanceof HubApiError);
    if (isNetworkFault && cached && (await isWhole(cached, parsed)))
      return modelPath(cached, parsed);
    throw apiFault(reference, error, await nearestSibling(reference));
  }
}

interface Session {
  readonly repo: string;
  readonly accessToken: string | undefined;
  readonly hubUrl: string | undefined;
  readonly fetch: typeof fetch;
  readonly signal: AbortSignal | undefined;
}

/** The client distinguishes a missing option from an undefined one only in its types. */
function clientOptions(session: Session) {
  const { repo, accessToken, hubUrl, fetch } = session;
  return { repo, fetch, ...(accessToken && { accessToken }), ...(hubUrl && { hubUrl }) };
}

async function download(
  reference: HubReference,
  folder: string,
  session: Session,
  options: ResolveModelOptions,
): Promise<string> {
  const { repo, ...rest } = clientOptions(session);
  const { revision } = reference;
  const info = await modelInfo({ ...rest, name: repo, revision, additionalFields: ["sha"] });
  const commit = info.sha;
  if (!/^[0-9a-f]{40}$/.test(commit))
    throw fault(`hf://${repo}`, "the hub names the revision's commit", "another answer", {
      fix: "check HF_ENDPOINT",
    });
  const files: ListFileEntry[] = [];
  for await (const entry of listFiles({ repo, ...rest, revision: commit, recursive: true }))
    if (entry.type === "file") files.push(entry);
  const wanted = chooseFiles(reference, files);

  const snapshot = join(folder, "snapshots", commit);
  const totalBytes = wanted.reduce((sum, file) => sum + file.size, 0);
  let finishedBytes = 0;
  for (const file of wanted) {
    const report = (bytes: number) =>
      options.onProgress?.({ file: file.path, loadedBytes: finishedBytes + bytes, totalBytes });
    const target = join(snapshot, file.path);
    if (!(await exists(target))) {
      const blob = await fetchBlob(file, commit, folder, session, report);
      await linkBlob(blob, target);
    }
    report(file.size);
    finishedBytes += file.size;
  }
  // Last, so that a branch in the cache always stands for a whole model.
  await writeRef(folder, revision, commit);
  return modelPath(snapshot, reference);
}

const DESCRIPTION_FILES = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "model.safetensors.index.json",
]);

/** The files that a model is loaded from: no pickles, no copies in other formats, no subfolders. */
function chooseFiles(
  { repository, file }: HubReference,
  files: readonly ListFileEntry[],
): ListFileEntry[] {
  const named = (path: string) => files.filter((entry) => entry.path === path);
  if (file !== undefined) {
    const found = named(file);
    if (found.length > 0) return found;
    throw fault(`hf://${repository}`, "the repository must hold the file", `no "${file}"`, {
      fix: "look at the repository's list of files",
    });
  }
  const top = files.filter((entry) => !entry.path.includes("/"));
  const single = named("model.safetensors");
  const weights =
    single.length > 0
      ? single
      : top.filter((entry) => /^model-\d+-of-\d+\.safetensors$/.test(entry.path));
  if (weights.length > 0)
    return [...top.filter((entry) => DESCRIPTION_FILES.has(entry.path)), ...weights];
  const ggufs = top.filter((entry) => entry.path.endsWith(".gguf"));
  if (ggufs.length === 1) return ggufs;
  const pickle = top.find((entry) => /\.(bin|pt|pth)$/.test(entry.path));
  if (ggufs.length > 1)
    throw fault(`hf://${repository}`, "one GGUF file is one model", `${ggufs.length} of them`, {
      fix: `name one, e.g. ${repository}/${ggufs[0]!.path}`,
    });
  throw fault(
    `hf://${repository}`,
    "weights are safetensors or GGUF; pickle files can run code and are never opened",
    pickle ? `only the pickle file "${pickle.path}"` : "no weights in the repository",
    { fix: "choose a repository or a revision with safetensors" },
  );
}

const ATTEMPTS = 3;

/** Fetches one file into `blobs/`, going on where an earlier attempt (or the Python tools) stopped. */
async function fetchBlob(
  file: ListFileEntry,
  commit: string,
  folder: string,
  session: Session,
  report: (bytes: number) => void,
): Promise<string> {
  const oid = file.lfs?.oid ?? file.oid;
  if (!oid || !/^[0-9a-f]{40}(?:[0-9a-f]{24})?$/.test(oid))
    throw fault(`hf://${session.repo}`, "the hub names each file's hash", `none for ${file.path}`, {
      fix: "try again later",
    });
  const blob = join(folder, "blobs", oid);
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

/** What `openCheckpoint` is to open: the snapshot, or the one file of it that the reference names. */
function modelPath(snapshot: string, { file }: HubReference): string {
  return file === undefined ? snapshot : join(snapshot, file);
}

/** A snapshot that the Python tools began may lack what a model needs. */
async function isWhole(snapshot: string, reference: HubReference): Promise<boolean> {
  if (reference.file !== undefined) return exists(modelPath(snapshot, reference));
  const names = await readdir(snapshot);
  return names.some((name) => /\.(safetensors|gguf)$/.test(name));
}

function fault(where: string, rule: string, seen: string, { fix }: { fix: string }) {
  return new TunesmithError("checkpoint", { where, rule, seen, fix });
}

const STATUS_FIXES: Readonly<Record<number, string>> = {
  401: "check the spelling; for a private or gated model set HF_TOKEN",
  403: "accept the model's conditions on its page, and set HF_TOKEN",
  404: "check the spelling of the id and the revision; a local path must exist",
  429: "wait a while; with HF_TOKEN set the limits are higher",
};

function apiFault(reference: string, error: unknown, sibling?: string): TunesmithError {
  const isAnswer = error instanceof HubApiError;
  return new TunesmithError(
    "api",
    {
      where: `model "${reference}"`,
      rule: "no such path, so it must be a model that the hub lets us download",
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
