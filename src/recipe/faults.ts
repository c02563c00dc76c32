// Turns what the schema found wrong with a recipe into faults a person can act on: where it stands,
// what would be allowed, what stands there, and the nearest right thing.

import type { z } from "zod";
import { type Fault, nearest } from "../errors.ts";
import type { KeyPath } from "./document.ts";
import { type RecipeKey, recipeKeys } from "./keys.ts";

/** Says where a key (`what: "key"`) or its value stands: `recipe.yaml:4:7`, or a flag. */
export type Locate = (path: KeyPath, what: "key" | "value") => string;

type Issue = z.core.$ZodIssue;

/** One fault for each issue, and one for each unknown key. */
export function describeIssues(issues: readonly Issue[], data: unknown, locate: Locate): Fault[] {
  const keys = recipeKeys();
  return issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys")
      return issue.keys.map((key) => unknownKey([...path(issue), key], data, keys, locate));
    const value = valueAt(data, path(issue));
    return [
      value === undefined
        ? missingKey(path(issue), keys, locate)
        : wrongValue(issue, value, keys, locate),
    ];
  });
}

/** A key that no section has, with the nearest one that some section has. */
function unknownKey(at: KeyPath, data: unknown, keys: readonly RecipeKey[], locate: Locate): Fault {
  const section = at.slice(0, -1).join(".");
  const name = String(at.at(-1));
  const variant = valueAt(data, [...at.slice(0, -1), "name"]);
  const siblings = [
    ...new Set(
      keys
        .filter(({ variant: only }) => !section || only === undefined || only === variant)
        .filter(({ path: key }) => section === "" || key.startsWith(`${section}.`))
        .map(({ path: key }) => key.split(".")[at.length - 1]!),
    ),
  ];
  const near = nearest(name, siblings);
  const elsewhere = keys.find(({ path: key }) => key.split(".").at(-1) === name);
  const fix =
    near !== undefined
      ? `write "${near}"`
      : elsewhere?.path === at.join(".")
        ? `remove it, or choose ${section}.name: ${elsewhere.variant}, which has it`
        : elsewhere !== undefined
          ? `move it to ${elsewhere.path}`
          : `remove it, or use one of: ${siblings.join(", ")}`;
  return {
    where: locate(at, "key"),
    rule: section === "" ? "a recipe has no such key" : `${section} has no such key`,
    seen: `"${name}"${near === undefined ? "" : `; nearest is "${near}"`}`,
    fix,
  };
}

function missingKey(at: KeyPath, keys: readonly RecipeKey[], locate: Locate): Fault {
  const path = at.join(".");
  const key = keys.find((each) => each.path === path);
  return {
    where: locate(at, "value"),
    rule: `a recipe needs ${path}`,
    seen: `no ${path}`,
    fix: EXAMPLES[path] ?? `add ${path}: ${key?.description ?? ""}`.trim(),
  };
}

/** What to write for keys that a recipe cannot do without. */
const EXAMPLES: Readonly<Record<string, string>> = {
  model: "add a line such as `model: ./SmolLM2-135M-Instruct` (folder, GGUF file or hub id)",
  data: "add a line such as `data: { train: train.jsonl, eval: 0.1 }`",
  "data.train": "add the training file, as in `data: { train: train.jsonl }`",
  method: "add a line such as `method: { name: lora, rank: 8 }`",
  "method.name": "say which one, as in `method: { name: lora }`",
};

function wrongValue(
  issue: Issue,
  value: unknown,
  keys: readonly RecipeKey[],
  locate: Locate,
): Fault {
  const at = path(issue);
  const name = at.join(".");
  const options = allowedWords(issue);
  const near = typeof value === "string" ? nearest(value, options) : undefined;
  return {
    where: locate(at, "value"),
    rule: `${name || "a recipe"} must be ${spoken(expectation(issue, name, keys))}`,
    seen: inWords(value),
    fix: near !== undefined ? `write ${near}` : fixFor(name, value, keys),
  };
}

function fixFor(name: string, value: unknown, keys: readonly RecipeKey[]): string {
  const key = keys.find((each) => each.path === name);
  if (typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value)))
    return `write ${value} without quotes`;
  if (key === undefined) return EXAMPLES[name] ?? "correct it";
  const example =
    key.default !== undefined
      ? `; its default is ${JSON.stringify(key.default)}`
      : key.derived !== undefined
        ? `; left out it is ${key.derived}`
        : "";
  return `${key.description.replace(/\.$/, "")}${example}`;
}

function expectation(issue: Issue, name: string, keys: readonly RecipeKey[]): string {
  if (issue.code === "too_small") {
    const more = issue.inclusive ? "at least" : "more than";
    return `${more} ${issue.minimum}${issue.origin === "array" ? " items long" : ""}`;
  }
  if (issue.code === "too_big") {
    const less = issue.inclusive ? "at most" : "less than";
    return `${less} ${issue.maximum}${issue.origin === "array" ? " items long" : ""}`;
  }
  const options = allowedWords(issue);
  if ("discriminator" in issue) return options.map((each) => JSON.stringify(each)).join(" | ");
  const key = keys.find((each) => each.path === name);
  if (key !== undefined) return key.type;
  if (options.length > 0) return options.join(" | ");
  if (issue.code === "invalid_type")
    return issue.expected === "object" || issue.expected === "record"
      ? "a map of keys"
      : `of type ${issue.expected}`;
  return "something else";
}

/** A type as a sentence has it: "an integer" for "integer". */
function spoken(type: string): string {
  const words: [RegExp, string][] = [
    [/\blist of (\w+)/g, "a list of $1s"],
    [/\bmap of (\w+)/g, "a map of $1s"],
    [/\binteger\b/g, "an integer"],
    [/\bnumber\b/g, "a number"],
    [/\bstring\b/g, "text"],
    [/\bboolean\b/g, "true or false"],
    [/ \| /g, " or "],
  ];
  return words.reduce((text, [pattern, word]) => text.replace(pattern, word), type);
}

/** The words an issue would have accepted, also those inside a choice of types. */
function allowedWords(issue: Issue): string[] {
  if (issue.code === "invalid_value") return issue.values.map(String);
  if (issue.code !== "invalid_union") return [];
  const { options } = issue as { options?: readonly unknown[] };
  return [...(options ?? []).map(String), ...issue.errors.flat().flatMap(allowedWords)];
}

function inWords(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  const short = text.length > 80 ? `${text.slice(0, 77)}…` : text;
  const kind = Array.isArray(value) ? "list" : value === null ? "nothing" : typeof value;
  return value === null ? "nothing" : `${short} (${kind === "object" ? "map" : kind})`;
}

function path(issue: Issue): (string | number)[] {
  return issue.path.map((step) => (typeof step === "number" ? step : String(step)));
}

/** The value at a path of plain data, or undefined. */
export function valueAt(data: unknown, at: KeyPath): unknown {
  let value = data;
  for (const step of at) {
    if (value === null || typeof value !== "object") return undefined;
    value = (value as Record<string | number, unknown>)[step];
  }
  return value;
}
