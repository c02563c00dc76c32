// Dataset files as streams of records: which reader a file name asks for, and which files a source
// names (a file, a folder, or a dataset of the hub that somebody else downloads).

import { readdir, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { nearest, TunesmithError } from "../errors.ts";
import { readCsv } from "./read-csv.ts";
import { readJson } from "./read-json.ts";
import { readJsonLines } from "./read-jsonl.ts";
import { readParquet } from "./read-parquet.ts";
import { readText } from "./read-text.ts";
import type { Row } from "./row.ts";

/** How each kind of file is read, by its extension. */
export const READERS: Readonly<Record<string, (path: string) => AsyncIterable<Row>>> = {
  ".jsonl": readJsonLines,
  ".ndjson": readJsonLines,
  ".json": readJson,
  ".csv": readCsv,
  ".tsv": readCsv,
  ".parquet": readParquet,
  ".txt": readText,
  ".md": readText,
};

/** Which of the two sides of training data is wanted for. */
export type DatasetSide = "train" | "eval";

/** Downloads a dataset of the hub and returns its files; undefined for what does not name one. */
export type ResolveDataset = (
  reference: string,
  side: DatasetSide,
) => Promise<readonly string[] | undefined>;

/** The records of files, one file after another. @throws TunesmithError (data) for faulty content. */
export async function* readRecords(files: readonly string[]): AsyncGenerator<Row> {
  for (const file of files) yield* readerOf(file)(file);
}

/**
 * The data files that sources name: files as they are, folders by their data files in alphabetical
 * order, and anything else through `resolve`.
 *
 * @throws TunesmithError (data) for a path that does not exist, an unknown extension or an empty folder.
 */
export async function findFiles(
  sources: string | readonly string[],
  resolve: ResolveDataset = async () => undefined,
  side: DatasetSide = "train",
): Promise<string[]> {
  const files: string[] = [];
  for (const source of typeof sources === "string" ? [sources] : sources) {
    const kind = await kindOf(source);
    if (kind === "file") files.push(source);
    else if (kind === "folder") files.push(...(await filesOfFolder(source)));
    else {
      const downloaded =
        extname(source) in READERS && !source.startsWith("hf://")
          ? undefined
          : await resolve(source, side);
      if (!downloaded) throw await notFound(source);
      files.push(...downloaded);
    }
  }
  for (const file of files) readerOf(file);
  return files;
}

/** Bytes of the files together. */
export async function totalSize(files: readonly string[]): Promise<number> {
  const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

function readerOf(file: string): (path: string) => AsyncIterable<Row> {
  const extension = extname(file).toLowerCase();
  const reader = READERS[extension];
  if (reader) return reader;
  const near = nearest(extension, Object.keys(READERS));
  throw new TunesmithError("data", {
    where: file,
    rule: `a data file ends in one of ${Object.keys(READERS).join(", ")}`,
    seen: extension === "" ? "no extension" : extension,
    fix: near ? `rename it to ${near} if it is that` : "convert it, or give it its right extension",
  });
}

async function kindOf(path: string): Promise<"file" | "folder" | undefined> {
  const stats = await stat(path).catch(() => undefined);
  if (!stats) return undefined;
  return stats.isDirectory() ? "folder" : "file";
}

async function filesOfFolder(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).sort();
  const data = names.filter(
    (name) => extname(name).toLowerCase() in READERS && !/^(readme|license)\b|^\./i.test(name),
  );
  if (data.length > 0) return data.map((name) => join(folder, name));
  throw new TunesmithError("data", {
    where: folder,
    rule: `a data folder holds files that end in ${Object.keys(READERS).join(", ")}`,
    seen: names.length === 0 ? "an empty folder" : names.slice(0, 5).join(", "),
    fix: "name the file itself, or put the data there",
  });
}

async function notFound(path: string): Promise<TunesmithError> {
  const siblings = await readdir(dirname(path)).catch(() => []);
  const near = nearest(basename(path), siblings);
  return new TunesmithError("data", {
    where: path,
    rule: "the data must exist",
    seen: "no file or folder of that name",
    fix: near
      ? `did you mean ${join(dirname(path), near)}?`
      : "check the path; it is relative to the current folder",
  });
}
