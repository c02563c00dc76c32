// What a resumed run's recipe says otherwise than the one kept in its folder, beyond the loop's own
// settings: other data, another batch size or another alpha change the losses just as well.

import { parse } from "yaml";

/** Sections and keys without effect on the losses, and those that the loop compares by itself. */
const PASSED_OVER = /^(output|compute|name)(\.|$)|^train\.(?!batchSize$)/;

/**
 * The values that differ between the texts of two recipes, as "key: old -> new"; none where one of
 * them is missing.
 */
export function changedRecipe(before: string | undefined, now: string | undefined): string[] {
  if (before === undefined || now === undefined || before === now) return [];
  const old = valuesOf(before);
  const current = valuesOf(now);
  if (!old || !current) return ["recipe.yaml: cannot be compared"];
  return [...new Set([...old.keys(), ...current.keys()])]
    .filter((key) => !PASSED_OVER.test(key) && old.get(key) !== current.get(key))
    .map((key) => `${key}: ${old.get(key) ?? "none"} -> ${current.get(key) ?? "none"}`);
}

/**
 * What of these changes is the method's, in words for whoever finds that tensors do not fit: its name, or
 * else its options; empty where it is the same.
 * @param changes as `changedRecipe` tells them
 */
export function changedMethod(changes: readonly string[]): string {
  const ofMethod = changes.filter((change) => change.startsWith("method."));
  const [, run, recipe] = /^method\.name: (.+) -> (.+)$/m.exec(ofMethod.join("\n")) ?? [];
  if (run !== undefined) return `the run has method ${run}, the recipe ${recipe}`;
  return ofMethod.length > 0 ? `the recipe was changed: ${ofMethod.join(", ")}` : "";
}

function valuesOf(text: string): Map<string, string> | undefined {
  try {
    return new Map(leavesOf(parse(text), ""));
  } catch {
    return undefined;
  }
}

function leavesOf(value: unknown, path: string): [string, string][] {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return [[path, JSON.stringify(value)]];
  return Object.entries(value).flatMap(([key, part]) =>
    leavesOf(part, path === "" ? key : `${path}.${key}`),
  );
}
