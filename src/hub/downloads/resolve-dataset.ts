// A dataset of the hub on this disk: the files of one split, as people who load it in Python expect.

import { extname, join } from "node:path";
import { nearest, TunesmithError } from "../../errors.ts";
import { type DatasetConfiguration, datasetConfigurations, matching } from "./dataset-files.ts";
import { type DatasetReference, parseDatasetReference } from "./dataset-reference.ts";
import { type DownloadOptions, fetchRepository } from "./fetch-repository.ts";

export interface ResolveDatasetOptions extends DownloadOptions {
  /** The split to take where the reference names none: the first of these that there is. */
  readonly splits: readonly string[];
  /** Endings of files that can be read, such as ".parquet". */
  readonly extensions: readonly string[];
}

const CARD = "README.md";

/**
 * The local files of a dataset of the hub: `owner/name`, `owner/name:split`,
 * `owner/name:config/split`, `owner/name@revision:…`, or `hf://datasets/owner/name/path`. They are
 * downloaded unless the cache holds them. Undefined for what is not written so.
 *
 *     const files = await resolveDataset("openai/gsm8k:main/test", {
 *       splits: ["train"],
 *       extensions: [".parquet"],
 *     });
 *
 * @throws TunesmithError (data, api) for a dataset, configuration, split or file that does not exist.
 */
export async function resolveDataset(
  reference: string,
  options: ResolveDatasetOptions,
): Promise<string[] | undefined> {
  const parsed = parseDatasetReference(reference);
  if (!parsed) return undefined;
  const { repository, revision } = parsed;
  const { folder, files } = await fetchRepository(
    {
      kind: "dataset",
      reference,
      repository,
      revision,
      async choose(paths, readText) {
        const readable = paths.filter((path) => isData(path, options.extensions));
        if (readable.length === 0) throw nothingReadable(repository, paths, options.extensions);
        if (parsed.path !== undefined) return filesAt(parsed.path, readable, repository);
        // The card stays beside the files: it tells the splits when there is no network.
        const cards = paths.filter((path) => path === CARD);
        const card = cards[0] === undefined ? undefined : await readText(cards[0]);
        const configurations = datasetConfigurations(readable, card);
        return [...cards, ...filesOfSplit(parsed, configurations, options.splits)];
      },
    },
    options,
  );
  const data = parsed.path === undefined ? files.filter((file) => file !== CARD) : files;
  return data.map((file) => join(folder, file));
}

function isData(path: string, extensions: readonly string[]): boolean {
  const parts = path.split("/");
  return (
    extensions.includes(extname(path).toLowerCase()) &&
    !parts.some((part) => part.startsWith(".")) &&
    !/^(readme|license|dataset_infos?)\b/i.test(parts.at(-1)!)
  );
}

function filesAt(path: string, readable: readonly string[], repository: string): string[] {
  const found = matching(readable, path);
  if (found.length > 0) return found;
  const near = nearest(path, readable);
  throw new TunesmithError("data", {
    where: `hf://datasets/${repository}`,
    rule: "the dataset must hold the files",
    seen: `nothing that can be read at "${path}"`,
    fix: near ? `did you mean ${near}?` : `it holds ${listed(readable)}`,
  });
}

/** The files that a configuration and a split name; the one word of `name:word` may be either. */
function filesOfSplit(
  { repository, parts }: DatasetReference,
  configurations: readonly DatasetConfiguration[],
  usualSplits: readonly string[],
): readonly string[] {
  const named = configurations.find(({ name }) => name === parts[0]);
  if (parts.length === 2 && !named)
    throw unknown("configuration", parts[0]!, repository, namesOf(configurations), "");
  const usual =
    configurations.find(({ isDefault }) => isDefault) ??
    (configurations.length === 1 ? configurations[0] : undefined);
  const configuration = named ?? usual;
  if (!configuration)
    throw unknown("configuration", parts[0], repository, namesOf(configurations), "");
  const { splits } = configuration;
  const split = named ? parts[1] : parts[0];
  const wanted = split ?? usualSplits.find((each) => splits.has(each));
  const files = wanted === undefined ? undefined : splits.get(wanted);
  if (files && files.length > 0) return files;
  const prefix = configurations.length > 1 ? `${configuration.name}/` : "";
  const present = [...splits].flatMap(([name, held]) => (held.length > 0 ? [name] : []));
  throw unknown("split", split, repository, present, prefix);
}

function namesOf(configurations: readonly DatasetConfiguration[]): string[] {
  return configurations.map(({ name }) => name);
}

function unknown(
  what: "configuration" | "split",
  asked: string | undefined,
  repository: string,
  known: readonly string[],
  prefix: string,
): TunesmithError {
  const example = (asked && nearest(asked, known)) ?? known[0];
  return new TunesmithError("data", {
    where: `hf://datasets/${repository}`,
    rule: asked === undefined ? `the ${what} must be named` : `the ${what} must exist`,
    seen: `${asked === undefined ? "none named" : `"${asked}"`}; there are ${listed(known)}`,
    fix: example
      ? `write ${repository}:${prefix}${example}`
      : `name its files, as hf://datasets/${repository}/path`,
  });
}

function nothingReadable(
  repository: string,
  paths: readonly string[],
  extensions: readonly string[],
): TunesmithError {
  return new TunesmithError("data", {
    where: `hf://datasets/${repository}`,
    rule: `a dataset holds files that end in ${extensions.join(", ")}`,
    seen: listed(paths),
    fix: paths.some((path) => path.endsWith(".py"))
      ? `it is built by a script; take the hub's Parquet copy: hf://datasets/${repository}@refs/convert/parquet/default/train`
      : "choose another dataset, or download and convert its files",
  });
}

function listed(names: readonly string[]): string {
  if (names.length === 0) return "none";
  return names.slice(0, 8).join(", ") + (names.length > 8 ? ` and ${names.length - 8} more` : "");
}
