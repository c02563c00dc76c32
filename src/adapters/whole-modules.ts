// Modules that an adapter holds whole beside what it adds to others (`modules_to_save`): a classifier's head, an
// output matrix. What is done to a LoRA's matrices leaves them as they are.

import type { Adapter, AdapterTensor, JsonObject } from "../hub/index.ts";

/** Whether a tensor of an adapter's file is one of a module that it holds whole. */
export function isWhole({ modules_to_save: modules }: JsonObject, key: string): boolean {
  if (!Array.isArray(modules)) return false;
  const path = key.replace(/^base_model\.model\./, "").replace(/\.(weight|bias)$/, "");
  return modules.some((name) => path === name || path.endsWith(`.${name}`));
}

/** The adapter without them, and them. */
export function wholeModulesApart({ config, tensors, ...rest }: Adapter): {
  readonly others: Adapter;
  readonly whole: ReadonlyMap<string, AdapterTensor>;
} {
  const all = [...tensors];
  return {
    others: { ...rest, config, tensors: new Map(all.filter(([key]) => !isWhole(config, key))) },
    whole: new Map(all.filter(([key]) => isWhole(config, key))),
  };
}

/** Another form of `original`, with its modules and its labels. */
export function withModulesOf(
  changed: Adapter,
  { config, labels }: Pick<Adapter, "config" | "labels">,
  whole: ReadonlyMap<string, AdapterTensor>,
): Adapter {
  return {
    config: { ...changed.config, modules_to_save: config.modules_to_save ?? null },
    tensors: new Map([...changed.tensors, ...whole]),
    ...(labels && { labels }),
  };
}
