// How often a classifier is right over held-out data: accuracy, and F1 averaged over the labels.

import type { Classifier } from "../models/index.ts";
import { chosenLabels } from "./verdict.ts";

export interface Agreement {
  /** The share of texts whose labels are all right. */
  readonly accuracy: number;
  /**
   * The mean over labels of 2 · hits / (2 · hits + misses + false alarms), a label that neither is right
   * nor said counting as 0; scikit-learn's `f1_score(average="macro", labels=all)`.
   */
  readonly macroF1: number;
}

export interface AgreementCount {
  /** @param logits [rows, labels] */
  add(logits: Float32Array, rowLabels: readonly (readonly number[])[]): void;
  /** @throws RangeError before anything was added */
  result(): Agreement;
}

/** Counts agreement; undefined for values, which are more or less right. */
export function countAgreement({ labels, problem }: Classifier): AgreementCount | undefined {
  if (problem === "regression") return undefined;
  const hits = labels.map(() => 0);
  const said = labels.map(() => 0);
  const right = labels.map(() => 0);
  let [rows, agreed] = [0, 0];
  const isSingle = problem === "single_label_classification";
  return {
    add(logits, rowLabels) {
      for (const [row, own] of rowLabels.entries()) {
        const start = row * labels.length;
        const chosen = chosenLabels(problem, logits.subarray(start, start + labels.length));
        const wanted = isSingle ? own : [...own.keys()].filter((index) => own[index]! > 0.5);
        for (const label of chosen) {
          said[label]!++;
          if (wanted.includes(label)) hits[label]!++;
        }
        for (const label of wanted) right[label]!++;
        rows++;
        if (chosen.join() === wanted.join()) agreed++;
      }
    },
    result() {
      if (rows === 0) throw new RangeError("nothing was counted");
      const f1 = labels.map((_, i) => (2 * hits[i]!) / Math.max(1, said[i]! + right[i]!));
      return {
        accuracy: agreed / rows,
        macroF1: f1.reduce((sum, x) => sum + x, 0) / labels.length,
      };
    },
  };
}
