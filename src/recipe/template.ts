// The commented recipe that `tunesmith init` writes. Every comment is the schema's own description,
// so the file cannot say something that the program does not do.

import { access } from "node:fs/promises";
import { stringify } from "yaml";
import { TunesmithError } from "../errors.ts";
import { writeFileAtomically } from "../hub/index.ts";
import { methodDefinition } from "../methods/index.ts";
import { type RecipeKey, recipeSections } from "./keys.ts";

/** The keys that a first recipe spells out. */
const WRITTEN: Readonly<Record<string, unknown>> = {
  "model.path": "./SmolLM2-135M-Instruct",
  "data.train": "train.jsonl",
  "data.eval": 0.1,
  "objective.name": "sft",
  "train.epochs": 3,
};

/** What a method needs besides, or is chosen first; a key of no method is left out. */
const WRITTEN_FOR_METHOD: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  lora: { "method.rank": 8 },
  "x-lora": { "method.adapters": ["./first-adapter", "./second-adapter"] },
  "adapter-fusion": { "method.adapters": ["./first-adapter", "./second-adapter"] },
};

/** Keys shown as comments besides, since they are what is changed next. */
const SUGGESTED = new Set([
  "data.maxLength",
  "data.packing",
  "method.alpha",
  "method.targets",
  "train.maxSteps",
  "train.batchSize",
  "train.learningRate",
  "train.seed",
  "train.memory",
  "output",
]);

export interface TemplateOptions {
  /** Show every key: of methods those of the one that is put in, and all others. */
  readonly all?: boolean;
  /** The method to put in, with all of its keys. Default: lora, with the usual ones. */
  readonly method?: string;
  /** A model and a training file to put in. */
  readonly model?: string;
  readonly data?: string;
}

/** The text of a new recipe. Throws a TunesmithError ("config") for a method that there is none of. */
export function recipeTemplate(options: TemplateOptions = {}): string {
  const { method = "lora" } = options;
  methodDefinition(method);
  const written = {
    ...WRITTEN,
    "method.name": method,
    ...WRITTEN_FOR_METHOD[method],
    ...(options.model === undefined ? {} : { "model.path": options.model }),
    ...(options.data === undefined ? {} : { "data.train": options.data }),
  };
  const sections = recipeSections()
    .map(({ name, description, keys }) => {
      const isShown = (path: string) =>
        path in written ||
        options.all ||
        SUGGESTED.has(path) ||
        (name === "method" && options.method !== undefined);
      const shown = keys.filter(
        ({ path, variant }) => (variant ?? method) === method && isShown(path),
      );
      return { name, description, keys: shown };
    })
    .filter(({ keys }) => keys.length > 0);
  const head =
    "# A tunesmith recipe. `tunesmith plan` shows what follows from it, `tunesmith train` runs it.\n" +
    "# Lines that begin with # show a default; any key can also be given as a flag: --train.epochs 2\n";
  return [head, ...sections.map((section) => sectionText(section, written))].join("\n");
}

/** Writes a new recipe. Throws a TunesmithError ("config") where `path` is taken, unless `force`. */
export async function writeTemplate(
  path: string,
  options: TemplateOptions & { readonly force?: boolean } = {},
): Promise<void> {
  const isTaken = await access(path).then(
    () => true,
    () => false,
  );
  if (isTaken && !options.force)
    throw new TunesmithError("config", {
      where: path,
      rule: "a new recipe does not replace a file",
      seen: "a file of that name",
      fix: "give another name, or --force to replace it",
    });
  await writeFileAtomically(path, recipeTemplate(options));
}

function sectionText(
  section: { name: string; description: string; keys: readonly RecipeKey[] },
  written: Readonly<Record<string, unknown>>,
): string {
  const { name, description, keys } = section;
  const [first] = keys;
  const onlyName = first !== undefined && keys.length === 1 && first.path in written;
  if (onlyName) return `# ${description}\n${line(name, written[first.path])}`;
  if (first !== undefined && first.path === name) return keyText(first, written, "");
  const isWritten = keys.some(({ path }) => path in written);
  const body = keys.map((key) => keyText(key, written, "  ")).join("");
  return `# ${description}\n${isWritten ? "" : "# "}${name}:\n${body}`;
}

function keyText(
  key: RecipeKey,
  written: Readonly<Record<string, unknown>>,
  indent: string,
): string {
  const name = key.path.split(".").at(-1)!;
  const comment = `${indent}# ${key.description}`;
  if (key.path in written) return `${comment}\n${indent}${line(name, written[key.path])}`;
  const left = key.derived ?? (key.default === undefined ? "none" : undefined);
  const shown = left === undefined ? line(name, key.default) : `${name}:   # left out: ${left}\n`;
  return `${comment}\n${indent}# ${shown}`;
}

function line(name: string, value: unknown): string {
  return `${stringify({ [name]: value }, { collectionStyle: "flow", flowCollectionPadding: false })
    .trim()
    .replace(/^\{(.*)\}$/s, "$1")}\n`;
}
