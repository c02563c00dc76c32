// Who gave each value of a recipe, and where it stands: a flag, a place in the file, or nobody.

import { basename } from "node:path";
import { TunesmithError } from "../errors.ts";
import { type KeyPath, type RecipeDocument, valueAt } from "./document.ts";
import type { Locate } from "./faults.ts";
import { recipeKeys } from "./keys.ts";
import type { Override } from "./overrides.ts";
import type { ParsedRecipe } from "./schema.ts";

/** Where a value came from; `detail` is a place, a flag, a file or a reason. */
export interface Origin {
  readonly kind: "recipe" | "flag" | "default" | "checkpoint" | "derived";
  readonly detail: string;
}

/** The origins of all values that a recipe has, by dotted key. `data` is what was written. */
export function originsOf(
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

/** How faults say where a key or its value stands. */
export function locator(
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
export function flagOf(path: KeyPath, overrides: readonly Override[]): string | undefined {
  const sets = (override: Override) =>
    override.path.every((step, depth) => step === String(path[depth])) ||
    // A shorthand section given by a flag: --model PATH sets model.path.
    (override.path.length === 1 && override.path[0] === path[0]);
  return overrides.findLast(sets)?.flag;
}

/**
 * What a recipe and a model do together wrong, told with where the recipe says it: `method.targets`
 * becomes `recipe.yaml:4:12 method.targets`, or the flag. Everything else stays as it is.
 */
export function withPlaces(error: unknown, origins: ReadonlyMap<string, Origin>): unknown {
  if (!(error instanceof TunesmithError)) return error;
  const placed = (where: string): string => {
    const steps = /^[\w.]+/.exec(where)?.[0].split(".") ?? [];
    const keys = steps.map((_, depth) => steps.slice(0, depth + 1).join("."));
    const key = keys.findLast((each) => origins.has(each));
    const { kind = "default", detail = "" } = (key && origins.get(key)) || {};
    if (kind === "flag") return where.replace(key!, detail);
    return kind === "recipe" && detail !== "" ? `${detail} ${where}` : where;
  };
  const faults = error.faults.map((fault) => ({ ...fault, where: placed(fault.where) }));
  return new TunesmithError(error.code, faults, { cause: error.cause });
}
