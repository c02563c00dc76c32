// The stored parity cases: what the real libraries computed (see README.md), as values to compare with.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openSafetensors } from "../../src/hub/index.ts";
import type { Batch, MethodOptions, TrainStepOptions } from "../../src/index.ts";

export const CASES = join(import.meta.dirname, "cases");

interface Common {
  readonly name: string;
  readonly folder: string;
  readonly shows: string;
  /** Folders of the checkpoint, and of the adapter where there is one. */
  readonly model: string;
  readonly adapter?: string;
  /** Instead of an adapter: the method that trains the checkpoint's own weights. */
  readonly method?: MethodOptions;
}

/** One batch: logits, loss and gradients. */
export interface PointCase extends Common {
  readonly kind: "point";
  readonly batch: Batch;
  readonly loss: number;
  /** What the method, or the architecture, adds in training. */
  readonly methodLoss: number;
  /** What follows prompts, token by token. */
  readonly greedy: readonly GreedyAnswer[];
}

export interface GreedyAnswer {
  readonly prompt: readonly number[];
  readonly pixelValues?: Batch["pixelValues"];
  readonly tokens: readonly number[];
}

/** AdamW steps over batches taken in turn. */
export interface TrajectoryCase extends Common {
  readonly kind: "trajectory";
  readonly batches: readonly Batch[];
  readonly optimizer: TrainStepOptions;
  readonly losses: readonly number[];
  readonly gradientNorms: readonly number[];
  /** AdaLoRA: which ranks of which module are kept after each step; null before the first pruning. */
  readonly rankPatterns?: readonly (Readonly<Record<string, readonly boolean[]>> | null)[];
}

/** What initialisations promise. */
export interface InitCase extends Common {
  readonly kind: "init";
  readonly settings: {
    readonly rank: number;
    readonly alpha: number;
    readonly targets: readonly string[];
  };
  readonly variants: Readonly<Record<string, InitVariant>>;
}

export interface InitVariant {
  readonly measured?: Readonly<Record<"A" | "B", InitStatistics>>;
}

export interface InitStatistics {
  readonly largest: number;
  readonly standardDeviation: number;
}

/** What an initialisation makes of data: an adapter that is not trained yet. */
export interface StartCase extends Common {
  readonly kind: "start";
  readonly adapter: string;
  readonly method: MethodOptions;
  readonly batches: readonly Batch[];
  /** Batches that were looked at, those above in turn. */
  readonly lookedAt: number;
}

export type StoredCase = PointCase | TrajectoryCase | InitCase | StartCase;

/** Every case of a group. @throws where a folder holds none of the kinds of cases that are tested */
export function storedCases(group: string): StoredCase[] {
  return readdirSync(join(CASES, group))
    .sort()
    .map((name) => readCase(join(CASES, group, name), `${group}/${name}`));
}

export function readCase(folder: string, name: string): StoredCase {
  const json = JSON.parse(readFileSync(join(folder, "case.json"), "utf8"));
  for (const { pixelValues = [] } of [...(json.batches ?? []), ...(json.greedy ?? [])])
    for (const picture of pixelValues) picture.data = Float32Array.from(picture.data);
  const common = {
    name,
    folder,
    shows: json.shows,
    model: join(folder, json.model),
    ...(json.adapter ? { adapter: join(folder, json.adapter) } : {}),
    ...(json.method ? { method: json.method as MethodOptions } : {}),
  };
  if (json.optimizer && json.losses)
    return { kind: "trajectory", ...common, ...pick(json, TRAJECTORY_KEYS) } as TrajectoryCase;
  if (json.variants)
    return { kind: "init", ...common, ...pick(json, ["settings", "variants"]) } as InitCase;
  if (json.lookedAt)
    return { kind: "start", ...common, ...pick(json, ["batches", "lookedAt"]) } as StartCase;
  if (typeof json.loss === "number" && json.batches?.length === 1)
    return {
      kind: "point",
      ...common,
      batch: json.batches[0],
      loss: json.loss,
      methodLoss: json.methodLoss ?? 0,
      greedy: json.greedy ?? [],
    };
  throw new Error(`${name}: no test covers a case with ${Object.keys(json).join(", ")}`);
}

const TRAJECTORY_KEYS = ["batches", "optimizer", "losses", "gradientNorms", "rankPatterns"];

const pick = (json: Record<string, unknown>, keys: readonly string[]) =>
  Object.fromEntries(keys.map((key) => [key, json[key]]));

/** The tensors of `expected.safetensors` whose names start with `prefix/`, by the rest of the name. */
export async function expectedTensors(
  folder: string,
  prefix: string,
): Promise<Map<string, Float32Array>> {
  const file = await openSafetensors(join(folder, "expected.safetensors"));
  try {
    const tensors = new Map<string, Float32Array>();
    for (const { name, byteLength } of file.tensors.values()) {
      if (name !== prefix && !name.startsWith(`${prefix}/`)) continue;
      const bytes = new Uint8Array(byteLength);
      await file.readInto(name, bytes);
      tensors.set(name.slice(prefix.length + 1), new Float32Array(bytes.buffer));
    }
    return tensors;
  } finally {
    await file.close();
  }
}

/** Logits with those at padded positions set to zero, as they are stored: nothing defines them. */
export function withoutPadding(
  logits: Float32Array,
  { inputIds, attentionMask, rowLabels }: Batch,
) {
  // A classifier's logits are of whole rows.
  if (rowLabels) return logits;
  const real = attentionMask?.flat() ?? [];
  const width = logits.length / inputIds.flat().length;
  const kept = logits.slice();
  real.forEach((bit, row) => {
    if (bit === 0) kept.fill(0, row * width, (row + 1) * width);
  });
  return kept;
}

export { arrayDifference as relativeDifference } from "../../src/runtime/testing/array-difference.ts";
