// Override flags: `--train.epochs 2` sets that key of a recipe, whichever key it is. The accepted
// names are the schema's own; values are read as YAML, as they would be in the file.

import { parse } from "yaml";
import { type Fault, nearest } from "../errors.ts";
import { isJsonObject } from "../hub/index.ts";
import { recipeKeys } from "./keys.ts";
import { SHORTHANDS } from "./schema.ts";

export interface Override {
  /** As typed, such as `--train.epochs`. */
  readonly flag: string;
  readonly path: readonly string[];
  readonly value: unknown;
}

export interface SplitArguments {
  /** Everything that is no override, in order. */
  readonly rest: string[];
  readonly overrides: Override[];
  readonly faults: Fault[];
}

/**
 * Takes the override flags out of a command line. `sections` (default true): whether the name of a
 * whole section, as in `--model PATH`, is one too.
 */
export function splitOverrides(
  args: readonly string[],
  { sections = true }: { readonly sections?: boolean } = {},
): SplitArguments {
  const known = new Set(recipeKeys().map(({ path }) => path));
  if (sections) for (const section of Object.keys(SHORTHANDS)) known.add(section);
  const rest: string[] = [];
  const overrides: Override[] = [];
  const faults: Fault[] = [];
  for (let index = 0; index < args.length; index++) {
    const argument = args[index]!;
    const match = /^--([A-Za-z][\w.]*)(?:=(.*))?$/s.exec(argument);
    const [, name, attached] = match ?? [];
    const isKey = name !== undefined && (known.has(name) || name.includes("."));
    if (!isKey) {
      rest.push(argument);
      continue;
    }
    const flag = `--${name}`;
    const next = args[index + 1];
    const value = attached ?? (next !== undefined && !next.startsWith("--") ? next : undefined);
    if (attached === undefined && value !== undefined) index++;
    const path = known.has(name) ? name.split(".") : pathInsideMap(name);
    if (path === undefined) faults.push(unknownFlag(flag, name, known));
    else if (value === undefined) faults.push(missingValue(flag));
    else overrides.push({ flag, path, value: readValue(value) });
  }
  return { rest, overrides, faults };
}

/** `--method.rankPattern.q_proj 16` sets one entry of a map; the entry's name may have dots too. */
function pathInsideMap(name: string): string[] | undefined {
  const map = recipeKeys().find(
    ({ path, type }) => type.startsWith("map") && name.startsWith(`${path}.`),
  );
  return map && [...map.path.split("."), name.slice(map.path.length + 1)];
}

function readValue(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return text; // not YAML: a plain string, such as a regex with brackets
  }
}

function unknownFlag(flag: string, name: string, known: ReadonlySet<string>): Fault {
  const near = nearest(name, known);
  return {
    where: flag,
    rule: "a flag with a dot sets a key of the recipe",
    seen: `no key "${name}"${near === undefined ? "" : `; nearest is "${near}"`}`,
    fix: near === undefined ? "see `tunesmith init --all` for every key" : `write --${near}`,
  };
}

function missingValue(flag: string): Fault {
  return {
    where: flag,
    rule: "a flag that sets a key needs a value",
    seen: "nothing after it",
    fix: `write ${flag} VALUE`,
  };
}

/** The data with the overrides put in; a shorthand section becomes a map where one goes inside it. */
export function applyOverrides(data: unknown, overrides: readonly Override[]): unknown {
  if (overrides.length === 0) return data;
  const result = structuredClone(isJsonObject(data) ? data : {});
  for (const { path, value } of overrides) {
    let target = result;
    for (const [depth, step] of path.slice(0, -1).entries()) {
      const child = target[step];
      const shorthand = depth === 0 ? SHORTHANDS[step] : undefined;
      const opened = isJsonObject(child)
        ? child
        : typeof child === "string" && shorthand !== undefined
          ? { [shorthand]: child }
          : {};
      target[step] = opened;
      target = opened;
    }
    target[path.at(-1)!] = value;
  }
  return result;
}
