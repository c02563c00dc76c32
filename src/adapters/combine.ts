// Several tensors of one shape made into one: task arithmetic (Ilharco et al. 2023), magnitude pruning,
// TIES (Yadav et al. 2023) and DARE (Yu et al. 2024), each as PEFT's `merge_utils` defines it.

import type { Random } from "../runtime/random.ts";

export interface CombineOptions {
  /** Share of elements that is kept; 1 keeps all. */
  readonly density: number;
  /** How a sign is elected: by the sum of values, or by a count of their signs. */
  readonly majoritySign: "total" | "frequency";
  /** Draws what DARE keeps. */
  readonly random: Random;
}

/** Σ over tensors in some way; `weights` has one factor a tensor. */
export type Combine = (
  tensors: readonly Float32Array[],
  weights: readonly number[],
  options: CombineOptions,
) => Float32Array;

type Prune = (tensor: Float32Array, options: CombineOptions) => Float32Array;

/** The ways to combine, by PEFT's names. */
export const COMBINATIONS = {
  linear: weightedSum,
  magnitude_prune: (tensors, weights, options) =>
    weightedSum(pruned(tensors, keepLargest, options), weights),
  ties: (tensors, weights, options) =>
    sumOfMajority(pruned(tensors, keepLargest, options), weights, options),
  dare_linear: (tensors, weights, options) =>
    weightedSum(pruned(tensors, keepDrawn, options), weights),
  dare_ties: (tensors, weights, options) =>
    sumOfMajority(pruned(tensors, keepDrawn, options), weights, options),
} as const satisfies Record<string, Combine>;

export type Combination = keyof typeof COMBINATIONS;

function weightedSum(tensors: readonly Float32Array[], weights: readonly number[]): Float32Array {
  return Float32Array.from(tensors[0]!, (_, i) =>
    tensors.reduce((sum, tensor, t) => sum + weights[t]! * tensor[i]!, 0),
  );
}

/** The mean over those tensors alone that have the elected sign. */
function sumOfMajority(
  tensors: readonly Float32Array[],
  weights: readonly number[],
  { majoritySign }: CombineOptions,
): Float32Array {
  const ballot = majoritySign === "total" ? (x: number) => x : Math.sign;
  return Float32Array.from(tensors[0]!, (_, i) => {
    const elected = tensors.reduce((sum, tensor) => sum + ballot(tensor[i]!), 0) >= 0 ? 1 : -1;
    let sum = 0;
    let count = 0;
    tensors.forEach((tensor, t) => {
      if (Math.sign(tensor[i]!) !== elected) return;
      sum += weights[t]! * tensor[i]!;
      count++;
    });
    return sum / Math.max(1, count);
  });
}

function pruned(
  tensors: readonly Float32Array[],
  prune: Prune,
  options: CombineOptions,
): readonly Float32Array[] {
  return options.density >= 1 ? tensors : tensors.map((tensor) => prune(tensor, options));
}

/** Of elements that are equally large, those of lower index are kept. */
function keepLargest(tensor: Float32Array, { density }: CombineOptions): Float32Array {
  const count = Math.floor(density * tensor.length);
  const kept = new Float32Array(tensor.length);
  if (count === 0) return kept;
  const smallestKept = tensor.map(Math.abs).sort()[tensor.length - count]!;
  let equalOnes = count - tensor.reduce((n, x) => n + Number(Math.abs(x) > smallestKept), 0);
  tensor.forEach((value, i) => {
    const magnitude = Math.abs(value);
    if (magnitude > smallestKept || (magnitude === smallestKept && equalOnes-- > 0))
      kept[i] = value;
  });
  return kept;
}

/** Each element with probability `density`, made larger by so much that the expectation stays. */
function keepDrawn(tensor: Float32Array, { density, random }: CombineOptions): Float32Array {
  return tensor.map((value) => (random.uniform() < density ? value / density : 0));
}
