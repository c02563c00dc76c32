// Reads a recipe from a file or an object: all its faults at once, each with line and column, and
// every value with where it came from.

import { readFile } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { type Fault, TunesmithError } from "../errors.ts";
import { isJsonObject } from "../hub/index.ts";
import { crossChecks } from "./cross-checks.ts";
import { type KeyPath, parseRecipeText, type RecipeDocument } from "./document.ts";
import { describeIssues } from "./faults.ts";
import { nearestFile, resolvePaths } from "./local-paths.ts";
import { flagOf, locator, type Origin, originsOf } from "./origins.ts";
import { applyOverrides, type Override } from "./overrides.ts";
import { type ParsedRecipe, type RecipeInput, recipeSchema, SHORTHANDS } from "./schema.ts";

export interface LoadedRecipe {
  /** The file's name without extension, or "recipe". */
  readonly name: string;
  /** The file it was read from; absent for an object. */
  readonly file?: string;
  /** What relative paths start from. */
  readonly folder: string;
  /** The content, with local paths made absolute and fixed defaults filled in. */
  readonly recipe: ParsedRecipe;
  /** By dotted key. Keys that are still to be derived are absent. */
  readonly origins: ReadonlyMap<string, Origin>;
}

export interface LoadOptions {
  readonly overrides?: readonly Override[];
  /** What relative paths of an object or a flag start from; default: the current folder. */
  readonly folder?: string;
}

/**
 * Loads a recipe file (YAML or JSON), or takes one as an object.
 *
 * @throws TunesmithError (config) with every fault of the recipe together.
 */
export async function loadRecipe(
  source: string | RecipeInput,
  options: LoadOptions = {},
): Promise<LoadedRecipe> {
  const here = resolve(options.folder ?? ".");
  const file = typeof source === "string" ? source : undefined;
  const document =
    file === undefined ? documentOf(source) : parseRecipeText(await readText(file), file);
  if (document.faults.length > 0) throw new TunesmithError("config", document.faults);

  const folder = file === undefined ? here : dirname(resolve(file));
  const overrides = options.overrides ?? [];
  const locate = locator(document, overrides, file);
  const written = openShorthands(applyOverrides(document.data, overrides));
  const folderOf = (path: KeyPath) => (flagOf(path, overrides) === undefined ? folder : here);
  const { data, faults } = await resolvePaths(written, folderOf, locate);

  const parsed = recipeSchema.safeParse(data);
  if (!parsed.success) faults.unshift(...describeIssues(parsed.error.issues, data, locate));
  else faults.push(...crossChecks(parsed.data, locate));
  if (!parsed.success || faults.length > 0)
    throw new TunesmithError("config", faults.sort(byPlace));
  return {
    name: file === undefined ? "recipe" : basename(file, extname(file)),
    ...(file === undefined ? {} : { file: resolve(file) }),
    folder,
    recipe: parsed.data,
    origins: originsOf(parsed.data, data, document, overrides, file),
  };
}

/** From top to bottom of the file. */
function byPlace(a: Fault, b: Fault): number {
  const line = (fault: Fault) => Number(/:(\d+):\d+$/.exec(fault.where)?.[1] ?? 0);
  const column = (fault: Fault) => Number(/:(\d+)$/.exec(fault.where)?.[1] ?? 0);
  return line(a) - line(b) || column(a) - column(b);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const absent = code === "ENOENT";
    const near = absent ? await nearestFile(resolve(file), [".yaml", ".yml", ".json"]) : undefined;
    throw new TunesmithError(
      "config",
      {
        where: file,
        rule: "a recipe is a YAML or JSON file",
        seen: absent
          ? "no such file"
          : code === "EISDIR"
            ? "a folder"
            : `it cannot be read (${code})`,
        fix:
          near !== undefined
            ? `did you mean ${join(dirname(file), near)}?`
            : absent
              ? "write one with `tunesmith init`"
              : "name the recipe's file",
      },
      { cause },
    );
  }
}

function documentOf(source: unknown): RecipeDocument {
  return {
    data: source,
    faults: [],
    valuePlace: () => undefined,
    keyPlace: () => undefined,
  };
}

function openShorthands(data: unknown): unknown {
  if (!isJsonObject(data)) return data;
  const opened: Record<string, unknown> = { ...data };
  for (const [section, key] of Object.entries(SHORTHANDS))
    if (typeof opened[section] === "string") opened[section] = { [key]: opened[section] };
  return opened;
}
