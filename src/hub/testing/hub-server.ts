// A small server that speaks as much of the Hugging Face hub's documented protocol as a download
// needs: repository info, file listing, and files with ETag and Range. There is no network in
// the tests; that the real hub speaks the same is what the official client's own tests are for.

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export interface HubServer {
  readonly url: string;
  /** "METHOD path range" of every request so far. */
  readonly requests: string[];
  /** What the next responses to a file's bytes do: break off after so many bytes, or answer a status. */
  readonly trouble: { breakAfter?: number; status?: number; corrupt?: boolean };
  readonly authorizations: Set<string>;
}

export interface ServedRepository {
  /** Default served. */
  readonly kind?: "model" | "dataset";
  readonly repository: string;
  readonly commit: string;
  readonly revisions?: readonly string[];
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  /** Needs this token. */
  readonly token?: string;
}

/** The id that git gives a file, and the SHA-256 that large files have besides. */
export function oids(content: Uint8Array): { git: string; sha256: string } {
  const git = createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
  return { git, sha256: createHash("sha256").update(content).digest("hex") };
}

const isLarge = (path: string) => /\.(safetensors|gguf|bin)$/.test(path);

export async function startHub(served: ServedRepository): Promise<HubServer> {
  const files = new Map(
    Object.entries(served.files).map(([path, content]) => [
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    ]),
  );
  const { kind = "model" } = served;
  const requests: string[] = [];
  const authorizations = new Set<string>();
  const trouble: HubServer["trouble"] = {};
  const known = new Set(["main", served.commit, ...(served.revisions ?? [])]);

  const listing = () =>
    [...files].map(([path, content]) => {
      const { git, sha256 } = oids(content);
      const lfs = { oid: sha256, size: content.length, pointerSize: 130 };
      return { type: "file", path, size: content.length, oid: git, ...(isLarge(path) && { lfs }) };
    });

  function sendFile(request: IncomingMessage, response: ServerResponse, path: string): void {
    const content = files.get(path);
    if (!content) {
      response.writeHead(404, { "X-Error-Code": "EntryNotFound" }).end();
      return;
    }
    const { git, sha256 } = oids(content);
    const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
    const isProbe = range?.[1] === "0" && range[2] === "0";
    if (!isProbe && trouble.status !== undefined) {
      response.writeHead(trouble.status).end();
      return;
    }
    const [start, end] = range ? [Number(range[1]), Number(range[2]) + 1] : [0, content.length];
    const body = Uint8Array.from(content.subarray(start, end));
    if (!isProbe && trouble.corrupt) body[0] = body[0]! ^ 1;
    response.writeHead(range ? 206 : 200, {
      ETag: `"${isLarge(path) ? sha256 : git}"`,
      "Content-Length": body.length,
      ...(range && { "Content-Range": `bytes ${start}-${end - 1}/${content.length}` }),
    });
    if (isProbe || trouble.breakAfter === undefined || trouble.breakAfter >= body.length) {
      response.end(body);
      return;
    }
    const part = body.subarray(0, trouble.breakAfter);
    response.write(part, () => setTimeout(() => response.destroy(), 20));
  }

  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url!, "http://hub").pathname);
    requests.push(`${request.method} ${path} ${request.headers.range ?? ""}`.trim());
    const authorization = request.headers.authorization;
    if (authorization) authorizations.add(authorization);
    const json = (status: number, body: unknown) =>
      response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
    if (served.token && authorization !== `Bearer ${served.token}`)
      return json(401, { error: "Repository is gated" });
    const api = `/api/${kind}s/${served.repository}`;
    const match = (prefix: string) =>
      path.startsWith(prefix) ? path.slice(prefix.length) : undefined;
    const revision = match(`${api}/revision/`);
    if (revision !== undefined && known.has(revision))
      return json(200, { _id: "1", id: served.repository, sha: served.commit });
    if (match(`${api}/tree/${served.commit}`) !== undefined) return json(200, listing());
    const file = match(
      `${kind === "dataset" ? "/datasets" : ""}/${served.repository}/resolve/${served.commit}/`,
    );
    if (file !== undefined) return sendFile(request, response, file);
    return json(404, { error: "Repository not found" });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, requests, trouble, authorizations };
}
