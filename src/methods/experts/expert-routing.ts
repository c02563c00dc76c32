// Sending each token to its best few experts.

import { add, divide, multiply, subtract, sum, type Tensor, topMask } from "../../tensor/index.ts";

/** Which experts a token has, [rows, experts]: `places` are 1 at one expert each. */
export interface Routing {
  readonly places: readonly Tensor[];
  /** Of each place, [rows, 1]; they add up to 1. */
  readonly weights: readonly Tensor[];
}

/** The best experts by probability, their weights scaled to add up to 1. */
export function route(probabilities: Tensor, topK: number): Routing {
  const masks = Array.from({ length: topK }, (_, i) => topMask(probabilities, i + 1));
  const places = masks.map((mask, i) => (i === 0 ? mask : subtract(mask, masks[i - 1]!)));
  const chosen = places.map((place) => sum(multiply(probabilities, place), [1]));
  const total = chosen.reduce(add);
  return { places, weights: chosen.map((probability) => divide(probability, total)) };
}
