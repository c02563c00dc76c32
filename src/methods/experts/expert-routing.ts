// Sending each token to its best few experts, and the loss that spreads tokens over all of them.

import {
  add,
  divide,
  multiply,
  stopGradient,
  subtract,
  sum,
  type Tensor,
  topMask,
} from "../../tensor/index.ts";
import type { AuxiliaryLoss, MethodScope } from "../method.ts";
import { loadBalance, weightedSum } from "./balancing.ts";

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

const countsOf = (path: string) => `${path} counts`;
const probabilitiesOf = (path: string) => `${path} probabilities`;

/** Reports what `balancing` is made of. */
export function reportRouting(
  path: string,
  probabilities: Tensor,
  topK: number,
  scope: MethodScope,
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
