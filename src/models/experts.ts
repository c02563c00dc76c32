// A feed-forward of which every row uses a few parts (Shazeer et al. 2017). It comes in pieces: what
// all rows go through, each expert on any rows, and what joins them; so that an expert can be run on
// the rows alone that were sent to it. Reference: Transformers' `MixtralExperts`.

import {
  add,
  divide,
  multiply,
  slice,
  softmax,
  stopGradient,
  sum,
  type Tensor,
  topMask,
} from "../tensor/index.ts";
import type { Scope, SparseFeedForward, WeightSpec } from "./architecture.ts";
import { reportRouting } from "./load-balancing.ts";

/** All pieces in one graph: every expert sees every row, and most of what it makes is weighted by 0. */
export function runEveryExpert(pieces: SparseFeedForward, x: Tensor, scope: Scope): Tensor {
  const { input, weights, shared } = pieces.enter(x, scope);
  let output = shared;
  for (let index = 0; index < pieces.count; index++) {
    const share = slice(weights, 1, index, index + 1);
    const part = multiply(pieces.expert(index, input, scope), share);
    output = output ? add(output, part) : part;
  }
  return pieces.leave(x, output!, scope);
}

export interface Routing {
  /** How many experts a row has. */
  readonly topK: number;
  /** Whether their weights are scaled to add up to 1. */
  readonly renormalised: boolean;
  /** Whether a training step reports what the balancing loss is made of. */
  readonly balanced: boolean;
}

/** The weights [rows, experts] that the router at `path` gives to rows [rows, hidden]. */
export function routingWeights(path: string, x: Tensor, routing: Routing, scope: Scope): Tensor {
  const { topK, renormalised, balanced } = routing;
  const probabilities = softmax(scope.linear(path, x));
  if (balanced && scope.training) reportRouting(path, probabilities, topK, scope);
  const chosen = multiply(probabilities, topMask(stopGradient(probabilities), topK));
  return renormalised ? divide(chosen, sum(chosen, [1])) : chosen;
}

/** The weights of all experts, each of which so many of all rows go through as are sent to it on average. */
export function expertWeights(
  path: string,
  { experts, topK }: { readonly experts: number; readonly topK: number },
  weightsOf: (path: string) => readonly WeightSpec[],
): WeightSpec[] {
  const share = topK / experts;
  return Array.from({ length: experts }, (_, index) => weightsOf(`${path}.${index}`))
    .flat()
    .map((weight) => ({ ...weight, share }));
}

/** A router's weight. */
export const routerWeight = (path: string, experts: number, hidden: number): WeightSpec => ({
  name: `${path}.weight`,
  shape: [experts, hidden],
  role: "router",
});
