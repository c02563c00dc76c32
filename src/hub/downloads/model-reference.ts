// What people write as a model: a path, a hub id such as `owner/name`, or `hf://owner/name@revision`.

import { readdir } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { nearest, TunesmithError } from "../../errors.ts";

export interface HubReference {
  /** `owner/name`. */
  readonly repository: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** One file of the repository (a GGUF), where the reference names it. */
  readonly file?: string;
}

const HUB_REFERENCE =
  /^(?:hf:\/\/)?([A-Za-z0-9][\w.-]*\/[A-Za-z0-9_][\w.-]*?)(?:\/([\w./-]+\.gguf))?(?:@([\w./-]+))?$/;

/**
 * Reads `owner/name`, `owner/name@revision`, `owner/name/file.gguf@revision`, each also with `hf://`
 * in front. Undefined for anything else.
 */
export function parseHubReference(reference: string): HubReference | undefined {
  const match = HUB_REFERENCE.exec(reference);
  if (!match || reference.includes("..") || reference.includes("--")) return undefined;
  const [, repository, file, revision = "main"] = match;
  // A file with a weights file's ending that is not there: a path, not a repository.
  if (!file && /\.(gguf|safetensors|json|bin|pt)$/i.test(repository!)) return undefined;
  return { repository: repository!, revision, ...(file && { file }) };
}

/** The error for a reference that is neither a path that exists nor a hub id. */
export async function noSuchModel(reference: string): Promise<TunesmithError> {
  const sibling = await nearestSibling(reference);
  return new TunesmithError("checkpoint", {
    where: `model "${reference}"`,
    rule: "a model is a folder, a .gguf file, or a hub id such as owner/name",
    seen: sibling ? `no such path; the nearest is "${sibling}"` : "no such path",
    fix: sibling
      ? `write ${sibling}`
      : "check the spelling; a relative path starts at the current folder",
  });
}

/** The entry beside a missing path whose name is most like its own. */
export async function nearestSibling(reference: string): Promise<string | undefined> {
  const folder = dirname(reference);
  const names = await readdir(folder).catch(() => []);
  const name = nearest(basename(reference), names);
  return name && reference.slice(0, reference.length - basename(reference).length) + name;
}
