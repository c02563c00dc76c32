// Chooses the next token from logits: the likeliest one, or a draw from what the filters leave.

import type { Random } from "../runtime/random.ts";
import { likeliest, NEUTRAL, type Sampling, scoreProcessors } from "./score-processors.ts";

export type { Sampling } from "./score-processors.ts";

/**
 * The id of the next token. Does not change `logits` [vocabulary].
 *
 * @param seen ids so far, for the repetition penalty
 * @param restrict rules out tokens, before anything else is done to the scores
 */
export function chooseToken(
  logits: Float32Array,
  sampling: Sampling,
  seen: Iterable<number>,
  random: Random,
  restrict?: (scores: Float32Array) => void,
): number {
  const greedy = (sampling.temperature ?? 0) === 0;
  const scores = logits.slice();
  restrict?.(scores);
  for (const [name, process] of Object.entries(scoreProcessors)) {
    const setting = name as keyof Sampling;
    if (greedy && setting !== "repetitionPenalty") continue;
    const value = sampling[setting] ?? NEUTRAL[setting];
    if (value !== NEUTRAL[setting]) process(scores, value, seen);
  }
  return greedy ? likeliest(scores) : draw(scores, random);
}

/** A draw from the softmax of the scores. */
function draw(scores: Float32Array, random: Random): number {
  const best = likeliest(scores);
  const weights = Float64Array.from(scores, (score) => Math.exp(score - scores[best]!));
  let rest = random.uniform() * weights.reduce((sum, weight) => sum + weight, 0);
  for (let id = 0; id < weights.length; id++) {
    rest -= weights[id]!;
    if (rest < 0) return id;
  }
  return best;
}
