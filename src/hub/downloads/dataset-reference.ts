// What people write as a dataset of the hub: `owner/name`, a configuration or a split of it, or files of it.

export interface DatasetReference {
  /** `owner/name`. */
  readonly repository: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** A configuration, a split, or both; a single word may be either. */
  readonly parts: readonly string[];
  /** A file, a folder or a glob pattern of the repository, instead of configuration and split. */
  readonly path?: string;
}

const REPOSITORY = String.raw`([A-Za-z0-9][\w.-]*\/[A-Za-z0-9_][\w.-]*?)`;
const REVISION = String.raw`(?:@(refs\/(?:convert|pr)\/\w+|[\w.-]+))?`;
const BY_SPLIT = new RegExp(
  `^(?:hf://datasets/)?${REPOSITORY}${REVISION}(?::([^:/]+(?:/[^:/]+)?))?$`,
);
const BY_PATH = new RegExp(`^hf://datasets/${REPOSITORY}${REVISION}/(.+)$`);

/**
 * Reads `owner/name`, `owner/name:split`, `owner/name:config/split`, each with `@revision` behind the
 * name where wanted, and `hf://datasets/owner/name@revision/path/of/files-*.parquet`, as the Python
 * tools write it. Undefined for anything else.
 */
export function parseDatasetReference(reference: string): DatasetReference | undefined {
  if (reference.includes("..")) return undefined;
  const byPath = BY_PATH.exec(reference);
  const match = byPath ?? BY_SPLIT.exec(reference);
  if (!match || match[1]!.includes("--")) return undefined;
  const [, repository, revision = "main", rest] = match;
  return {
    repository: repository!,
    revision,
    parts: byPath || rest === undefined ? [] : rest.split("/"),
    ...(byPath && { path: rest! }),
  };
}
