// Which files of a dataset's repository are which split of which configuration: what its card says
// (https://huggingface.co/docs/hub/datasets-manual-configuration), else what the files' names say.

import { parse } from "yaml";
import { z } from "zod";

/** A configuration's splits and the files of each. */
export interface DatasetConfiguration {
  readonly name: string;
  readonly isDefault: boolean;
  readonly splits: ReadonlyMap<string, readonly string[]>;
}

const patterns = z.union([z.string(), z.array(z.string())]);
const cardSchema = z.object({
  configs: z.array(
    z.object({
      config_name: z.string().default("default"),
      default: z.boolean().default(false),
      data_dir: z.string().optional(),
      data_files: z
        .union([
          patterns,
          z.array(z.object({ split: z.string(), path: patterns })),
          z.record(z.string(), patterns),
        ])
        .optional(),
    }),
  ),
});

type CardConfiguration = z.output<typeof cardSchema>["configs"][number];

/** The configurations of a repository whose data files are `paths`; `card` is its README.md. */
export function datasetConfigurations(
  paths: readonly string[],
  card: string | undefined,
): DatasetConfiguration[] {
  const told = cardSchema.safeParse(frontMatter(card ?? ""));
  if (!told.success) return [{ name: "default", isDefault: true, splits: splitsByName(paths, "") }];
  return told.data.configs.map((configuration) => ({
    name: configuration.config_name,
    isDefault: configuration.default || configuration.config_name === "default",
    splits: splitsOfCard(configuration, paths),
  }));
}

/** The YAML between the two lines of dashes that a card begins with. */
function frontMatter(card: string): unknown {
  const text = /^---\r?\n([\s\S]*?)\r?\n---/.exec(card)?.[1];
  try {
    return parse(text ?? "");
  } catch {
    // A card is prose for people first: one that cannot be read says nothing.
    return undefined;
  }
}

function splitsOfCard(
  { data_dir: folder = "", data_files: files }: CardConfiguration,
  paths: readonly string[],
): Map<string, string[]> {
  const prefix = folder.replace(/^\.?\//, "").replace(/([^/])$/, "$1/");
  if (files === undefined) return splitsByName(paths, prefix);
  const bySplit: [string, string | string[]][] =
    typeof files === "string" || isTextList(files)
      ? [["train", files]]
      : Array.isArray(files)
        ? files.map(({ split, path }) => [split, path])
        : Object.entries(files);
  const splits = new Map<string, string[]>();
  for (const [split, wanted] of bySplit)
    splits.set(split, [
      ...(splits.get(split) ?? []),
      ...[wanted].flat().flatMap((pattern) => matching(paths, prefix + pattern)),
    ]);
  return splits;
}

function isTextList(list: unknown): list is string[] {
  return Array.isArray(list) && list.every((each) => typeof each === "string");
}

const SPLIT_WORDS: Readonly<Record<string, string>> = {
  train: "train|training",
  validation: "validation|valid|val|dev",
  test: "test|testing|eval|evaluation",
};

/** Shards say their split themselves; else a word of the path does; else everything is for training. */
function splitsByName(paths: readonly string[], prefix: string): Map<string, string[]> {
  const inside = paths.filter((path) => path.startsWith(prefix));
  const shards = groupBy(
    inside,
    (path) => /(?:^|\/)data\/([\w.-]+?)-\d{5}-of-\d{5}[^/]*$/.exec(path)?.[1],
  );
  if (shards.size > 0) return shards;
  const named = groupBy(inside, (path) => splitOfWord(path.slice(prefix.length)));
  return named.size > 0 || inside.length === 0 ? named : new Map([["train", inside]]);
}

function splitOfWord(path: string): string | undefined {
  const entry = Object.entries(SPLIT_WORDS).find(([, words]) =>
    new RegExp(`(?:^|[-._ 0-9/])(?:${words})(?:[-._ 0-9/]|$)`, "i").test(path),
  );
  return entry?.[0];
}

function groupBy(
  paths: readonly string[],
  keyOf: (path: string) => string | undefined,
): Map<string, string[]> {
  const groups = new Map<string, string[]>();
  for (const path of paths) {
    const key = keyOf(path);
    if (key !== undefined) groups.set(key, [...(groups.get(key) ?? []), path]);
  }
  return groups;
}

/** The paths that a file, a folder or a glob pattern (`*`, `**`, `?`, `[abc]`, `{a,b}`) names. */
export function matching(paths: readonly string[], pattern: string): string[] {
  const glob = pattern.replace(/^\.?\//, "").replace(/\/$/, "");
  const expression = glob.replace(/\*\*\/?|[*?[\]{},]|[^\w/]/g, (token) => {
    if (token === "**/") return "(?:.*/)?";
    return GLOB_TOKENS[token] ?? `\\${token}`;
  });
  let compiled: RegExp;
  try {
    compiled = new RegExp(`^${expression}(?:/.*)?$`);
  } catch {
    return paths.filter((path) => path === glob);
  }
  return paths.filter((path) => compiled.test(path));
}

const GLOB_TOKENS: Readonly<Record<string, string>> = {
  "**": ".*",
  "*": "[^/]*",
  "?": "[^/]",
  "[": "[",
  "]": "]",
  "-": "-",
  "{": "(?:",
  "}": ")",
  ",": "|",
};
