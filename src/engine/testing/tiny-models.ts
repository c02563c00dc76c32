// Tiny checkpoints and batches for tests of the engine: the models of the parity cases.

import { join } from "node:path";
import { createRandom } from "../../runtime/random.ts";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import { type Batch, countTargets } from "../batch.ts";
import { type EngineModel, type OpenOptions, openModel } from "../load.ts";
import type { GradientOptions } from "../model.ts";

const CASES = join(import.meta.dirname, "../../../tests/parity/cases");

/** Two layers, hidden size 32, vocabulary of 97; each a parity case of that name, in one of two groups. */
const GROUPS = {
  base: "llama",
  "untied-head": "llama",
  biases: "llama",
  "head-dim": "llama",
  "f16-weights": "llama",
  gemma: "architectures",
  gemma2: "architectures",
  "gemma3-text": "architectures",
  chatglm: "glm",
  falcon: "gpt",
  glm: "glm",
  glm4: "glm",
  "glm-130b": "glm",
  "falcon-multi-query": "gpt",
  gpt2: "gpt",
  "gpt-neox": "gpt",
  "gpt-neox-sequential": "gpt",
  idefics3: "images",
  "mistral-window": "architectures",
  mixtral: "architectures",
  "mixtral-balanced": "architectures",
  olmo2: "architectures",
  phi: "architectures",
  phi3: "architectures",
  qwen2: "architectures",
  "qwen2-moe": "architectures",
  "qwen2-moe-mixed": "architectures",
  qwen3: "architectures",
  "qwen3-moe": "architectures",
  smolvlm: "images",
} as const;

export type TinyModel = keyof typeof GROUPS;

export const VOCABULARY = 97;

export const tinyModelFolder = (name: TinyModel): string =>
  join(CASES, GROUPS[name], name, "model");

export const openTiny = (name: TinyModel, options: OpenOptions = {}): Promise<EngineModel> =>
  openModel(tinyModelFolder(name), { threads: 1, ...options });

/** Random tokens, all of them trained on. */
export function randomRows(lengths: readonly number[], seed = 1): number[][] {
  const random = createRandom(seed);
  return lengths.map((length) => Array.from({ length }, () => random.below(VOCABULARY)));
}

export const batchOf = (rows: readonly (readonly number[])[]): Batch => ({
  inputIds: rows,
  labels: rows,
});

export interface Differentiated {
  /** Sum over targets. */
  readonly lossSum: number;
  /** What gradients are of: the mean over targets, and what the method adds. */
  readonly loss: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Loss and gradients of the mean over all targets of some batches, accumulated one after another. */
export async function differentiate(
  model: Pick<EngineModel, "parameters" | "accumulateGradients">,
  batches: readonly Batch[],
  options: Partial<GradientOptions> = {},
): Promise<Differentiated> {
  for (const { gradient } of model.parameters) gradient.fill(0);
  const targets = batches.reduce((sum, { labels }) => sum + countTargets(labels ?? []), 0);
  const auxiliaryScale = 1 / batches.length;
  let [lossSum, methodLoss] = [0, 0];
  for (const batch of batches) {
    const settings = { scale: 1 / targets, auxiliaryScale, ...options };
    const part = await model.accumulateGradients(batch, settings);
    lossSum += part.lossSum;
    methodLoss += (part.auxiliaryLoss ?? 0) * auxiliaryScale;
  }
  const gradients = new Map(model.parameters.map(({ name, gradient }) => [name, gradient.slice()]));
  return { lossSum, loss: lossSum / targets + methodLoss, gradients };
}

const largest = (values: Float32Array) =>
  values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/**
 * The largest difference between two runs as a share of the largest magnitude of each tensor. Where
 * that is rounding itself (a gradient that is zero but for it), the tensor needs to be so in both.
 */
export function largestDifference(a: Differentiated, b: Differentiated): number {
  let worst = Math.abs(a.lossSum - b.lossSum) / Math.abs(b.lossSum);
  const rounding = 1e-7 * Math.max(...[...b.gradients.values()].map(largest));
  for (const [name, values] of b.gradients) {
    const others = a.gradients.get(name)!;
    if (largest(values) < rounding && largest(others) < rounding) continue;
    worst = Math.max(worst, arrayDifference(others, values));
  }
  return worst;
}
