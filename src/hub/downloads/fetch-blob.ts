// One file of the hub, fetched into the cache: resumed where it broke off, checked against its hash.

import { createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import { downloadFile, HubApiError, type ListFileEntry } from "@huggingface/hub";
import { TunesmithError } from "../../errors.ts";
import { makeFolder } from "../make-folder.ts";
import { exists, matchesOid } from "./hub-cache.ts";
import { clientOptions, FAULT_CODES, type HubSession, repositoryOf } from "./hub-session.ts";

const ATTEMPTS = 3;

/**
 * Fetches one file into `blobs/`, going on where an earlier attempt (or the Python tools) stopped.
 * @param report is told how many bytes are here
 * @returns where the file is
 * @throws TunesmithError (checkpoint, data) where the hub names no hash
 */
export async function fetchBlob(
  file: ListFileEntry,
  commit: string,
  session: HubSession,
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
  await makeFolder(dirname(blob));
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
  session: HubSession,
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
    repo: repositoryOf(session),
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
