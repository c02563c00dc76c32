// Losses that keep a router from sending everything to few experts, with their gradients: in plain
// numbers, since they are of a handful of sums over all tokens.

import { multiply, stopGradient, sum, type Tensor, topMask } from "../tensor/index.ts";
import type { AuxiliaryLoss, Scope } from "./architecture.ts";

/** Sums over the tokens of one layer, [experts] each. */
export interface LayerRouting {
  /** Tokens that chose each expert. */
  readonly counts: Float32Array;
  /** Of the router's probabilities. */
  readonly probabilities: Float32Array;
}

/**
 * Load balancing as Transformers' `load_balancing_loss_func` has it (Switch Transformer, Fedus et al. 2021,
 * equations 4 to 6): experts · Σ f P, with f_i the share of tokens that have
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

const countsOf = (path: string) => `${path} counts`;
const probabilitiesOf = (path: string) => `${path} probabilities`;

/** Reports what `balancing` is made of. */
export function reportRouting(
  path: string,
  probabilities: Tensor,
  topK: number,
  scope: Pick<Scope, "realPositions" | "statistic">,
): void {
  const real = scope.realPositions();
  const counts = sum(multiply(topMask(stopGradient(probabilities), topK), real), [0]);
  scope.statistic(countsOf(path), counts);
  scope.statistic(probabilitiesOf(path), sum(multiply(probabilities, real), [0]));
}

/** The balancing loss of the modules at `paths` together. */
export function balancing(
  statistics: ReadonlyMap<string, Float32Array>,
  paths: readonly string[],
  topK: number,
  weight: number,
): AuxiliaryLoss {
  const layers = paths.map((path) => ({
    counts: statistics.get(countsOf(path))!,
    probabilities: statistics.get(probabilitiesOf(path))!,
  }));
  const { loss, gradient } = loadBalance(layers, topK);
  const shares = paths.map(
    (path) => [probabilitiesOf(path), { loss: loss / paths.length, gradient }] as const,
  );
  return weightedSum(shares, weight);
}
