// Losses that keep a router from sending everything to few experts, with their gradients: in plain
// numbers, since they are of a handful of sums over all tokens.

import type { AuxiliaryLoss } from "../method.ts";

/** Sums over the tokens of one layer, [experts] each. */
export interface LayerRouting {
  /** Tokens that chose each expert. */
  readonly counts: Float32Array;
  /** Of the router's probabilities. */
  readonly probabilities: Float32Array;
}

/**
 * Mixtral's load balancing, which MixLoRA has: experts · Σ f P, with f_i the share of tokens that have
 * expert i among their `topK` and P_i its mean probability, over the tokens of all layers together.
 * Gradients are of the sums of probabilities, one a layer.
 */
export function loadBalance(
  layers: readonly LayerRouting[],
  topK: number,
): { loss: number; gradient: Float32Array } {
  const experts = layers[0]!.counts.length;
  const total = (values: (layer: LayerRouting) => Float32Array) =>
    Float64Array.from({ length: experts }, (_, i) =>
      layers.reduce((sum, layer) => sum + values(layer)[i]!, 0),
    );
  const counts = total((layer) => layer.counts);
  const probabilities = total((layer) => layer.probabilities);
  const tokens = counts.reduce((sum, count) => sum + count, 0) / topK;
  const slope = counts.map((count) => (experts * count) / tokens ** 2);
  const loss = slope.reduce((sum, each, i) => sum + each * probabilities[i]!, 0);
  return { loss, gradient: Float32Array.from(slope) };
}

/**
 * The squared coefficient of variation, variance / mean² (the unbiased variance, as LoRAMoE takes it of
 * the routers' sums over each row), and its gradient.
 */
export function variation(values: Float32Array): { loss: number; gradient: Float32Array } {
  const count = values.length;
  if (count < 2) return { loss: 0, gradient: new Float32Array(count) };
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (count - 1);
  const square = mean ** 2 + 1e-10;
  const gradient = values.map(
    (value) =>
      (2 * (value - mean)) / ((count - 1) * square) - (2 * variance * mean) / (count * square ** 2),
  );
  return { loss: variance / square, gradient };
}

/** Losses of several statistics, each with its gradient, as one. */
export function weightedSum(
  parts: Iterable<readonly [name: string, part: { loss: number; gradient: Float32Array }]>,
  weight: number,
): AuxiliaryLoss {
  let loss = 0;
  const gradients = new Map<string, Float32Array>();
  for (const [name, part] of parts) {
    loss += weight * part.loss;
    gradients.set(
      name,
      part.gradient.map((value) => weight * value),
    );
  }
  return { loss, gradients };
}
