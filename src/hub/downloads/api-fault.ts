// Why the hub did not give a repository, as it is told to people.

import { HubApiError } from "@huggingface/hub";
import { TunesmithError } from "../../errors.ts";
import type { RepositoryKind } from "./hub-cache.ts";

const STATUS_FIXES: Readonly<Record<number, string>> = {
  401: "check the spelling; for a private or gated one set HF_TOKEN",
  403: "accept its conditions on its page, and set HF_TOKEN",
  404: "check the spelling of the id and the revision; a local path must exist",
  429: "wait a while; with HF_TOKEN set the limits are higher",
};

/**
 * A fault (api) of a repository that the hub did not give.
 * @param sibling a path on this machine that may have been meant
 */
export function apiFault(
  { kind, reference }: { readonly kind: RepositoryKind; readonly reference: string },
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
