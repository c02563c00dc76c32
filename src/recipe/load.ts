// Reads a recipe from a file or an object: all its faults at once, each with line and column, and
// every value with where it came from.

import { access, readdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, dirname, extname, isAbsolute, join, resolve } from "node:path";
import { type Fault, nearest, TunesmithError } from "../errors.ts";
import { parseHubReference } from "../hub/index.ts";
import { idleOptions, methodDefinition } from "../methods/index.ts";
import { type KeyPath, parseRecipeText, type RecipeDocument } from "./document.ts";
import { describeIssues, type Locate, valueAt } from "./faults.ts";
import { recipeKeys } from "./keys.ts";
import { applyOverrides, type Override } from "./overrides.ts";
import { type ParsedRecipe, type RecipeInput, recipeSchema, SHORTHANDS } from "./schema.ts";

/** Where a value came from; `detail` is a place, a flag, a file or a reason. */
export interface Origin {
  readonly kind: "recipe" | "flag" | "default" | "checkpoint" | "derived";
  readonly detail: string;
}

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

/** The file beside `path` whose name is nearest to it. */
async function nearestFile(
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

function documentOf(source: unknown): RecipeDocument {
  return {
    data: source,
    faults: [],
    valuePlace: () => undefined,
    keyPlace: () => undefined,
  };
}

function locator(
  document: RecipeDocument,
  overrides: readonly Override[],
  file: string | undefined,
): Locate {
  return (path, what) => {
    const flag = flagOf(path, overrides);
    if (flag !== undefined) return flag;
    const place = what === "key" ? document.keyPlace(path) : document.valuePlace(path);
    if (place === undefined) return file ?? (path.join(".") || "recipe");
    return `${file}:${place.line}:${place.column}`;
  };
}

/** The flag that set a key or an ancestor of it; the last one wins. */
function flagOf(path: KeyPath, overrides: readonly Override[]): string | undefined {
  const sets = (override: Override) =>
    override.path.every((step, depth) => step === String(path[depth])) ||
    // A shorthand section given by a flag: --model PATH sets model.path.
    (override.path.length === 1 && override.path[0] === path[0]);
  return overrides.findLast(sets)?.flag;
}

function openShorthands(data: unknown): unknown {
  if (!isRecord(data)) return data;
  const opened: Record<string, unknown> = { ...data };
  for (const [section, key] of Object.entries(SHORTHANDS))
    if (typeof opened[section] === "string") opened[section] = { [key]: opened[section] };
  return opened;
}

const DATA_EXTENSIONS = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md", ".ndjson"];

/** What paths of a recipe lead to. */
const MUST_EXIST = {
  model: "a model's folder or file must exist",
  data: "a data file must exist",
  adapter: "an adapter's folder must exist",
} as const;

/** Makes local paths absolute and checks that they exist; names that may be a hub's stay as they are. */
async function resolvePaths(
  data: unknown,
  folderOf: (path: KeyPath) => string,
  locate: Locate,
): Promise<{ data: unknown; faults: Fault[] }> {
  const faults: Fault[] = [];
  if (!isRecord(data)) return { data, faults };
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
            : DATA_EXTENSIONS.includes(extname(value)))));
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
  if (isRecord(model) && typeof model.path === "string" && model.id === undefined) {
    const local = await resolveAt(["model", "path"], model.path, "model");
    if (local !== undefined) model.path = local;
    else {
      // Not on this disk and not written like a path: a hub's name.
      model.id = model.path;
      delete model.path;
    }
  }
  if (isRecord(dataset))
    for (const key of ["train", "eval"]) {
      const value = dataset[key];
      if (typeof value === "string")
        dataset[key] = (await resolveAt(["data", key], value, "data")) ?? value;
      else if (Array.isArray(value))
        for (const [index, each] of value.entries())
          if (typeof each === "string")
            value[index] = (await resolveAt(["data", key, index], each, "data")) ?? each;
    }
  if (isRecord(method) && Array.isArray(method.adapters))
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

/** Rules between keys. */
function crossChecks(recipe: ParsedRecipe, locate: Locate): Fault[] {
  const faults: Fault[] = [];
  const { model, data, method, objective, train } = recipe;
  if ((model.path === undefined) === (model.id === undefined))
    faults.push({
      where: locate(["model"], "value"),
      rule: "a model is given by a path or by a hub id",
      seen: model.path === undefined ? "neither" : "both",
      fix: "write `model: ./folder`, `model: file.gguf` or `model: owner/name`",
    });
  for (const { option, ...fault } of idleOptions(method))
    faults.push({ where: locate(["method", ...option.split(".")], "value"), ...fault });
  if (model.quantization === "none" && methodDefinition(method.name).quantization)
    faults.push({
      where: locate(["model", "quantization"], "value"),
      rule: `method ${method.name} is for a quantised model`,
      seen: "model.quantization: none",
      fix: "leave model.quantization out, or use method lora",
    });
  const usual = methodDefinition(method.name).quantization?.type;
  const { arithmetic, quantization = usual ?? "int8" } = model;
  if (arithmetic === "int8" && quantization !== "int8")
    faults.push({
      where: locate(["model", "arithmetic"], "value"),
      rule: "products in 8-bit integers read weights that are kept as int8",
      seen: `model.quantization: ${quantization}${model.quantization ? "" : ` (usual for ${method.name})`}`,
      fix: usual
        ? "use method lora, set model.quantization: int8, or leave model.arithmetic out"
        : "leave model.quantization out, or model.arithmetic",
    });
  if (arithmetic === "int8" && model.quantization === undefined && isLoftq(method))
    faults.push({
      where: locate(["method", "init"], "value"),
      rule: "LoftQ's adapter belongs to the rounded weights, products in int8 to the published model",
      seen: "init: loftq with model.arithmetic: int8",
      fix: "set model.quantization: int8 too, and use the adapter on that; or another init",
    });
  faults.push(...objectiveChecks(objective, data, locate));
  if (train.earlyStopping !== undefined && data.eval === 0)
    faults.push({
      where: locate(["train", "earlyStopping"], "value"),
      rule: "stopping early needs held-out data to judge by",
      seen: "data.eval is 0",
      fix: "hold some out: data.eval: 0.1",
    });
  return faults;
}

/** What goes with some objectives alone. */
function objectiveChecks(
  { name, labels, multiple }: ParsedRecipe["objective"],
  { packing, loss, truncation }: ParsedRecipe["data"],
  locate: Locate,
): Fault[] {
  const isSft = name === "sft";
  const checks: [path: string, isWrong: boolean, rule: string, seen: unknown, fix: string][] = [
    ["objective.labels", isSft && labels !== undefined, LABELS_RULE, labels, LABELS_FIX],
    [
      "objective.multiple",
      multiple && name !== "classification",
      LABELS_RULE,
      multiple,
      LABELS_FIX,
    ],
    ["data.packing", !isSft && packing, WHOLE_RULE, packing, "set data.packing: false"],
    ["data.loss", !isSft && loss !== "auto", WHOLE_RULE, loss, "leave data.loss out"],
    [
      "data.truncation",
      !isSft && truncation === "split",
      WHOLE_RULE,
      truncation,
      "use keep_start, keep_end or drop",
    ],
  ];
  return checks
    .filter(([, isWrong]) => isWrong)
    .map(([path, , rule, seen, fix]) => ({
      where: locate(path.split("."), "value"),
      rule,
      seen: `${JSON.stringify(seen)} with objective: ${name}`,
      fix,
    }));
}

const LABELS_RULE = "labels are what objective: classification learns";
const LABELS_FIX = "set objective.name: classification, or leave it out";
const WHOLE_RULE = "a classifier judges each text as a whole";

const isLoftq = (method: ParsedRecipe["method"]) => "init" in method && method.init === "loftq";

function originsOf(
  recipe: ParsedRecipe,
  data: unknown,
  document: RecipeDocument,
  overrides: readonly Override[],
  file: string | undefined,
): Map<string, Origin> {
  const origins = new Map<string, Origin>();
  for (const { path } of recipeKeys()) {
    const steps = path.split(".");
    if (valueAt(recipe, steps) === undefined) continue;
    const flag = flagOf(steps, overrides);
    const place = document.valuePlace(steps);
    if (valueAt(data, steps) === undefined) origins.set(path, { kind: "default", detail: "" });
    else if (flag !== undefined) origins.set(path, { kind: "flag", detail: flag });
    else
      origins.set(path, {
        kind: "recipe",
        detail: place ? `${basename(file ?? "recipe")}:${place.line}:${place.column}` : "",
      });
  }
  return origins;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
