// The paths of a recipe: those that lead somewhere on this disk are made absolute and must lead to something,
// names that may be a hub's stay as they are.

import { access, readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, extname, isAbsolute, join, resolve } from "node:path";
import { READERS } from "../data/index.ts";
import { type Fault, nearest } from "../errors.ts";
import { isJsonObject, parseHubReference } from "../hub/index.ts";
import type { KeyPath } from "./document.ts";
import type { Locate } from "./faults.ts";

/** What paths of a recipe lead to. */
const MUST_EXIST = {
  model: "a model's folder or file must exist",
  data: "a data file must exist",
  adapter: "an adapter's folder must exist",
} as const;

/**
 * The content of a recipe with absolute paths, and a fault for each path that leads to nothing.
 *
 * @param folderOf what the relative path at a key starts from
 */
export async function resolvePaths(
  data: unknown,
  folderOf: (path: KeyPath) => string,
  locate: Locate,
): Promise<{ data: unknown; faults: Fault[] }> {
  const faults: Fault[] = [];
  if (!isJsonObject(data)) return { data, faults };
  const result = structuredClone(data);

  const resolveAt = async (path: KeyPath, value: string, kind: keyof typeof MUST_EXIST) => {
    const expanded = value.startsWith("~/") ? join(homedir(), value.slice(2)) : value;
    const absolute = resolve(folderOf(path), expanded);
    if (await exists(absolute)) return absolute;
    const isLocal =
      kind === "adapter" ||
      (!value.startsWith("hf://") &&
        (/^\.{0,2}[/\\]|^~/.test(value) ||
          isAbsolute(value) ||
          (kind === "model"
            ? /\.gguf$/i.test(value) && !(await isFileOfHub(value, folderOf(path)))
            : extname(value) in READERS)));
    if (!isLocal) return undefined;
    const near = await nearestFile(absolute);
    faults.push({
      where: locate(path, "value"),
      rule: MUST_EXIST[kind],
      seen: `nothing at ${absolute}`,
      fix:
        near === undefined
          ? `correct the path; it starts at ${folderOf(path)}`
          : `did you mean ${join(dirname(value), near)}?`,
    });
    return absolute;
  };

  const { model, data: dataset, method, output } = result;
  if (isJsonObject(model) && typeof model.path === "string" && model.id === undefined) {
    const local = await resolveAt(["model", "path"], model.path, "model");
    if (local !== undefined) model.path = local;
    else {
      // Not on this disk and not written like a path: a hub's name.
      model.id = model.path;
      delete model.path;
    }
  }
  if (isJsonObject(dataset))
    for (const key of ["train", "eval"]) {
      const value = dataset[key];
      if (typeof value === "string")
        dataset[key] = (await resolveAt(["data", key], value, "data")) ?? value;
      else if (Array.isArray(value))
        for (const [index, each] of value.entries())
          if (typeof each === "string")
            value[index] = (await resolveAt(["data", key, index], each, "data")) ?? each;
    }
  if (isJsonObject(method) && Array.isArray(method.adapters))
    for (const [index, each] of method.adapters.entries())
      if (typeof each === "string")
        method.adapters[index] =
          (await resolveAt(["method", "adapters", index], each, "adapter")) ?? each;
  if (typeof output === "string") result.output = resolve(folderOf(["output"]), output);
  return { data: result, faults };
}

/** Whether `owner/name/file.gguf` is the hub's: nothing here has the first of its names. */
async function isFileOfHub(value: string, folder: string): Promise<boolean> {
  if (parseHubReference(value)?.file === undefined) return false;
  return !(await exists(resolve(folder, value.split("/")[0]!)));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** The file beside `path` whose name is nearest to it; with `extensions`, of those that end so, or their only one. */
export async function nearestFile(
  path: string,
  extensions?: readonly string[],
): Promise<string | undefined> {
  const siblings = await readdir(dirname(path)).catch(() => []);
  const fitting = siblings.filter((each) => extensions?.includes(extname(each)) ?? true);
  return (
    nearest(basename(path), fitting) ??
    (extensions && fitting.length === 1 ? fitting[0] : undefined)
  );
}
