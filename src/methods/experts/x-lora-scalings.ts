// From a classifier's numbers to the scalings of the adapters, for X-LoRA. Formulas: PEFT's
// `XLoraClassifier.forward` and `XLoraLayer.get_maybe_topk_scalings`.

import {
  add,
  constant,
  multiply,
  softmax,
  subtract,
  type Tensor,
  topMask,
} from "../../tensor/index.ts";
import type { XLoraSettings } from "./x-lora-options.ts";

/** Added to what takes no part in a softmax. */
const LEFT_OUT = 1e30;

/** Scalings [rows, adapters] of what the classifier says. */
export function scalings(logits: Tensor, options: XLoraSettings): Tensor {
  const { topK, temperature } = options;
  const all = options.softmax ? softmax(multiply(logits, constant(1 / temperature))) : logits;
  if (topK === undefined) return options.softmaxTopK ? softmax(all) : all;
  const chosen = topMask(all, topK);
  if (!options.softmaxTopK) return multiply(all, chosen);
  const others = multiply(subtract(chosen, constant(1)), constant(LEFT_OUT));
  return softmax(add(multiply(all, chosen), others));
}

/** The same of the first pass, where every adapter has `firstPassScaling`: one number for each. */
export function firstPassScalings(options: XLoraSettings): number[] {
  const { adapters, topK = adapters.length, softmaxTopK, firstPassScaling } = options;
  // PEFT's softmax is over what is not 0.
  const share = softmaxTopK && firstPassScaling !== 0 ? 1 / topK : firstPassScaling;
  return adapters.map((_, i) => (i < topK ? share : 0));
}
