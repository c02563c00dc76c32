// Where bottleneck adapters sit in a model, and how wide they are there.

import type { ModelDescription } from "../method.ts";
import type { BottleneckSettings } from "./bottleneck-options.ts";

/** Where a half of a block has its adapter. */
export interface BottleneckSite {
  readonly layer: number;
  /** The path of the half, as `residual` names it. */
  readonly path: string;
  /** The prefix of all that the library has there: `model.layers.0.output_adapters`. */
  readonly slot: string;
}

/** The sites that settings choose, in the order of the model. */
export const bottleneckSites = (
  { blocks }: ModelDescription,
  { afterAttention, afterFeedForward, leaveOut }: BottleneckSettings,
): BottleneckSite[] =>
  blocks.flatMap(({ block, attention, feedForward }, layer) => {
    if (leaveOut.includes(layer)) return [];
    return [
      ...(afterAttention ? [{ layer, path: attention, slot: `${block}.attention_adapters` }] : []),
      ...(afterFeedForward ? [{ layer, path: feedForward, slot: `${block}.output_adapters` }] : []),
    ];
  });

/** The width of the adapters of a layer, at least 1. */
export function bottleneckWidth(
  factor: BottleneckSettings["reductionFactor"],
  hiddenSize: number,
  layer: number,
): number {
  const own = typeof factor === "number" ? factor : (factor[layer] ?? factor.default!);
  return Math.max(1, Math.floor(hiddenSize / own));
}
