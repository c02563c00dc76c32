// One repository of the hub as its client is asked about it.

import { datasetInfo, modelInfo } from "@huggingface/hub";
import { TunesmithError } from "../../errors.ts";
import type { RepositoryKind } from "./hub-cache.ts";

/** What kind of fault it is where a repository does not do. */
export const FAULT_CODES = { model: "checkpoint", dataset: "data" } as const satisfies Record<
  RepositoryKind,
  unknown
>;

/** What the hub is asked about, and as whom. */
export interface HubSession {
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

/** Options of every call; the client distinguishes missing from undefined ones only in its types. */
export function clientOptions({ accessToken, hubUrl, fetch }: HubSession) {
  return { fetch, ...(accessToken && { accessToken }), ...(hubUrl && { hubUrl }) };
}

/** The repository as the client names it. */
export function repositoryOf({ kind, name }: HubSession) {
  return { type: kind, name } as const;
}

/**
 * The commit that the revision is at.
 * @throws TunesmithError (checkpoint, data) for an answer that names none
 */
export async function commitOf(session: HubSession): Promise<string> {
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
