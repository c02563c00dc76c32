// What would be lost if a model that was merged over quantised weights were quantised again: the merge
// itself keeps the numbers, but small changes snap back to the codes that they came from.

import { dequantize, type QuantizationType, quantizeLike } from "../../hub/index.ts";
import type { WeightStore } from "./weights.ts";

/** Root mean squares over all weights that were quantised, as shares of those weights' own. */
export interface RequantizationLoss {
  readonly type: QuantizationType;
  /** How far the merged weights would move if they were quantised again. */
  readonly error: number;
  /** How far the adapter moved them; where `error` is about as much, quantising again undoes it. */
  readonly change: number;
}

/** Sums up, weight by weight, while a model is merged. */
export interface RequantizationMeter {
  /** Does nothing for weights that are not quantised. */
  add(name: string, merged: Float32Array): void;
  /** Undefined where nothing was quantised. */
  result(): RequantizationLoss | undefined;
}

export function createRequantizationMeter(weights: WeightStore): RequantizationMeter {
  let type: QuantizationType | undefined;
  let [errors, changes, squares] = [0, 0, 0];
  return {
    add(name, merged) {
      const stored = weights.quantized(name);
      if (!stored) return;
      type = stored.type;
      const base = weights.copy(name);
      const again = new Float32Array(merged.length);
      dequantize(quantizeLike(merged, stored), again);
      for (let i = 0; i < merged.length; i++) {
        const value = merged[i]!;
        errors += (again[i]! - value) ** 2;
        changes += (value - base[i]!) ** 2;
        squares += value ** 2;
      }
    },
    result: () =>
      type && { type, error: Math.sqrt(errors / squares), change: Math.sqrt(changes / squares) },
  };
}
