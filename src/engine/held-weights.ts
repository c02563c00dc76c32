// Weights that a kernel holds instead of being fed: ONNX Runtime multiplies with weights in blocks at full
// speed only where it may put them in an order of its own, once.

import type { Value } from "../runtime/kernel.ts";
import type { Tensor } from "../tensor/index.ts";
import type { Binding } from "./trace.ts";
import type { WeightStore } from "./weights/weights.ts";

/** Takes out of `feeds` what a kernel holds, and returns it with its values. */
export function heldBy(
  feeds: Map<Tensor, { readonly kind: string } | Binding>,
  weights: Pick<WeightStore, "blocks">,
): Map<Tensor, Value> {
  const held = new Map<Tensor, Value>();
  for (const [tensor, feed] of feeds) {
    if (feed.kind !== "blocks" || !("part" in feed)) continue;
    held.set(tensor, weights.blocks(feed.name)!.parts[feed.part]!);
    feeds.delete(tensor);
  }
  return held;
}
