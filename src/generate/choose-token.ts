// Chooses the next token from logits: the likeliest one, or a draw from those that the filters leave,
// in the order in which Transformers applies them.

import type { Random } from "../runtime/random.ts";

export interface Sampling {
  /** 0 (default) takes the likeliest token. */
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  /** Leaves out tokens below this share of the likeliest one's probability. */
  readonly minP?: number;
  /** Above 1: tokens that occurred become less likely (Keskar et al. 2019). */
  readonly repetitionPenalty?: number;
}

/**
 * The id of the next token. Does not change `logits` [vocabulary].
 *
 * @param seen ids so far, for the repetition penalty
 */
export function chooseToken(
  logits: Float32Array,
  sampling: Sampling,
  seen: Iterable<number>,
  random: Random,
): number {
  const { temperature = 0, topK, topP = 1, minP = 0, repetitionPenalty = 1 } = sampling;
  const scores = repetitionPenalty === 1 ? logits : penalised(logits, repetitionPenalty, seen);
  if (temperature === 0) return likeliest(scores);
  const largest = scores[likeliest(scores)]!;
  let candidates = Array.from(scores, (score, id) => ({
    id,
    weight: Math.exp((score - largest) / temperature),
  }));
  candidates.sort((a, b) => b.weight - a.weight || a.id - b.id);
  if (topK !== undefined) candidates = candidates.slice(0, topK);
  if (topP < 1) candidates = nucleus(candidates, topP);
  // Weights are relative to the likeliest token, which always stays.
  if (minP > 0) candidates = candidates.filter(({ weight }) => weight >= minP);
  let rest = random.uniform() * candidates.reduce((sum, { weight }) => sum + weight, 0);
  for (const { id, weight } of candidates) {
    rest -= weight;
    if (rest < 0) return id;
  }
  return candidates[0]!.id;
}

function likeliest(scores: Float32Array): number {
  let best = 0;
  for (let id = 1; id < scores.length; id++) if (scores[id]! > scores[best]!) best = id;
  return best;
}

function penalised(logits: Float32Array, penalty: number, seen: Iterable<number>): Float32Array {
  const scores = logits.slice();
  for (const id of new Set(seen)) {
    const score = logits[id]!;
    scores[id] = score < 0 ? score * penalty : score / penalty;
  }
  return scores;
}

/** The likeliest tokens until their share reaches `topP`; at least one. */
function nucleus<T extends { readonly weight: number }>(
  candidates: readonly T[],
  topP: number,
): T[] {
  const total = candidates.reduce((sum, { weight }) => sum + weight, 0);
  let share = 0;
  const end = candidates.findIndex(({ weight }) => {
    share += weight / total;
    return share >= topP;
  });
  return candidates.slice(0, end === -1 ? undefined : end + 1);
}
