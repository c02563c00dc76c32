// Turns what the schema found wrong with a recipe into faults a person can act on: where it stands,
// what would be allowed, what stands there, and the nearest right thing.

import type { z } from "zod";
import { type Fault, nearest } from "../errors.ts";
import { type KeyPath, valueAt } from "./document.ts";
import { type KeyFacts, type RecipeKey, recipeKeys } from "./keys.ts";
import { keyAt, namesAt } from "./keys-at.ts";

/** Says where a key (`what: "key"`) or its value stands: `recipe.yaml:4:7`, or a flag. */
export type Locate = (path: KeyPath, what: "key" | "value") => string;

type Issue = z.core.$ZodIssue;

/** One fault for each issue, and one for each unknown key. */
export function describeIssues(issues: readonly Issue[], data: unknown, locate: Locate): Fault[] {
  const keys = recipeKeys();
  return issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys")
      return issue.keys.map((key) => unknownKey([...path(issue), key], data, keys, locate));
    const isMissing = valueAt(data, path(issue)) === undefined;
    return [isMissing ? missingKey(path(issue), data, locate) : wrongValue(issue, data, locate)];
  });
}

/** A key that no section has, with the nearest one that some section has. */
function unknownKey(at: KeyPath, data: unknown, keys: readonly RecipeKey[], locate: Locate): Fault {
  const section = at.slice(0, -1).join(".");
  const name = String(at.at(-1));
  const siblings = namesAt(at.slice(0, -1), data);
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

function missingKey(at: KeyPath, data: unknown, locate: Locate): Fault {
  const path = at.join(".");
  const key = keyAt(at, data);
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

function wrongValue(issue: Issue, data: unknown, locate: Locate): Fault {
  const at = path(issue);
  const value = valueAt(data, at);
  const name = at.join(".");
  const options = allowedWords(issue);
  const near = typeof value === "string" ? nearest(value, options) : undefined;
  return {
    where: locate(at, "value"),
    rule: `${name || "a recipe"} must be ${spoken(expectation(issue, keyAt(at, data)))}`,
    seen: inWords(value),
    fix: near !== undefined ? `write ${near}` : fixFor(at, data),
  };
}

function fixFor(at: KeyPath, data: unknown): string {
  const value = valueAt(data, at);
  // What is in a list or a map is described with it.
  const key = keyAt(at, data) ?? keyAt(at.slice(0, -1), data);
  if (typeof value === "string" && value.trim() !== "" && Number.isFinite(Number(value)))
    return `write ${value} without quotes`;
  if (key === undefined) return EXAMPLES[at.join(".")] ?? "correct it";
  const example =
    key.default !== undefined
      ? `; its default is ${JSON.stringify(key.default)}`
      : key.derived !== undefined
        ? `; left out it is ${key.derived}`
        : "";
  return `${key.description.replace(/\.$/, "")}${example}`;
}

function expectation(issue: Issue, key: KeyFacts | undefined): string {
  if (issue.code === "too_small")
    return bound(issue.inclusive ? "at least" : "more than", issue.minimum, issue.origin);
  if (issue.code === "too_big")
    return bound(issue.inclusive ? "at most" : "less than", issue.maximum, issue.origin);
  const options = allowedWords(issue);
  if ("discriminator" in issue) return options.map((each) => JSON.stringify(each)).join(" | ");
  if (key !== undefined) return key.type;
  if (options.length > 0) return options.join(" | ");
  if (issue.code === "invalid_type")
    return issue.expected === "object" || issue.expected === "record"
      ? "map of key"
      : `of type ${issue.expected}`;
  return "something else";
}

function bound(words: string, limit: number | bigint, origin: string): string {
  const items = origin === "array" ? (Number(limit) === 1 ? " item long" : " items long") : "";
  return `${words} ${limit}${items}`;
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
