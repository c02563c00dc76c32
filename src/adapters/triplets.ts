// An AdaLoRA adapter as matrices, module by module, read without its model: the triplets that were kept.

import type { Adapter } from "../hub/index.ts";
import type { MethodOptions } from "../methods/index.ts";
import type { LoraModule } from "./plain-lora.ts";

/** How many ranks an AdaLoRA has kept of those that it began with. */
export interface KeptRanks {
  /** Of all modules together: now, at the start, and where pruning was to end. */
  readonly kept: number;
  readonly initial: number;
  readonly target: number;
  /** Of one module. */
  readonly smallest: number;
  readonly mean: number;
  readonly largest: number;
}

const KEY = /^base_model\.model\.(.+)\.lora_([ABE])$/;

/** Whether a tensor is a part of triplets. */
export const isOfTriplets = (key: string): boolean => KEY.test(key);

/**
 * By path: B diag(E) A as a product of two, E within A. Ranks that training took away are not in the file;
 * a module may have none left.
 */
export function tripletModules(
  { tensors }: Adapter,
  { initialRank = 12, alpha = 8 }: Extract<MethodOptions, { name: "adalora" }>,
): ReadonlyMap<string, LoraModule> {
  const modules = new Map<string, LoraModule>();
  for (const [key, a] of tensors) {
    const [, path, matrix] = KEY.exec(key) ?? [];
    const [b, e] = ["B", "E"].map((other) => tensors.get(key.replace(/A$/, other)));
    if (path === undefined || matrix !== "A" || !b || !e) continue;
    const [rank = 0, inputSize = 0] = a.shape;
    modules.set(path, {
      a: a.data.map((value, i) => value * e.data[Math.floor(i / inputSize)]!),
      b: b.data,
      rank,
      inputSize,
      outputSize: b.shape[0]!,
      scaling: alpha / initialRank,
    });
  }
  return modules;
}

/** @param modules as `tripletModules` reads them, at least one */
export function keptRanks(
  modules: ReadonlyMap<string, LoraModule>,
  { initialRank = 12, targetRank = 8 }: Extract<MethodOptions, { name: "adalora" }>,
): KeptRanks {
  const ranks = [...modules.values()].map(({ rank }) => rank);
  const kept = ranks.reduce((sum, rank) => sum + rank, 0);
  return {
    kept,
    initial: initialRank * ranks.length,
    target: targetRank * ranks.length,
    smallest: Math.min(...ranks),
    mean: kept / ranks.length,
    largest: Math.max(...ranks),
  };
}
