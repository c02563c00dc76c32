// What a classifier's logits say of a text.

import type { Classifier } from "../models/index.ts";

export interface Verdict {
  /** The most probable label; where any may be right, those more probable than not; none for values. */
  readonly labels: readonly string[];
  /** Of every label its probability; of values, what they are. */
  readonly scores: Readonly<Record<string, number>>;
}

/** @param logits one text's, in the order of the labels */
export function verdictOf({ labels, problem }: Classifier, logits: ArrayLike<number>): Verdict {
  const numbers = PROBABILITIES[problem](Array.from(logits));
  const scores = Object.fromEntries(labels.map((label, index) => [label, numbers[index]!]));
  return { labels: chosenLabels(problem, logits).map((index) => labels[index]!), scores };
}

/** The numbers of the labels that logits are for. */
export function chosenLabels(problem: Classifier["problem"], logits: ArrayLike<number>): number[] {
  const all = Array.from(logits);
  if (problem === "single_label_classification") return [all.indexOf(Math.max(...all))];
  if (problem === "regression") return [];
  return [...all.keys()].filter((index) => all[index]! > 0);
}

const PROBABILITIES: Readonly<
  Record<Classifier["problem"], (logits: readonly number[]) => readonly number[]>
> = {
  single_label_classification(logits) {
    const largest = Math.max(...logits);
    const powers = logits.map((logit) => Math.exp(logit - largest));
    const total = powers.reduce((sum, power) => sum + power, 0);
    return powers.map((power) => power / total);
  },
  multi_label_classification: (logits) => logits.map((logit) => 1 / (1 + Math.exp(-logit))),
  regression: (logits) => logits,
};
