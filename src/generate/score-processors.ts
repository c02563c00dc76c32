// What reshapes the logits before a token is drawn: one small function a rule, in the order and with
// the numbers of Transformers' logits processors, so that equal settings mean equal distributions.

/** The settings that shape the choice of a token. */
export interface Sampling {
  /** 0 (default) takes the likeliest token; the filters then have nothing to do. */
  readonly temperature?: number;
  /** Keeps so many of the likeliest tokens, and those that tie with the last of them. */
  readonly topK?: number;
  /** Keeps the likeliest tokens whose probabilities reach this sum (Holtzman et al. 2019). */
  readonly topP?: number;
  /** Drops tokens below this share of the likeliest one's probability (Nguyen et al. 2024). */
  readonly minP?: number;
  /** Above 1: tokens that occurred, prompt included, become less likely (Keskar et al. 2019). */
  readonly repetitionPenalty?: number;
}

/** Changes scores [vocabulary] in place; a token that must not be drawn gets -Infinity. */
export type ScoreProcessor = (
  scores: Float32Array,
  value: number,
  /** Prompt and answer so far. */
  seen: Iterable<number>,
) => void;

/** One rule for each setting, in the order in which they apply. */
export const scoreProcessors = {
  repetitionPenalty(scores, penalty, seen) {
    for (const id of new Set(seen)) {
      const score = scores[id]!;
      scores[id] = score < 0 ? score * penalty : score / penalty;
    }
  },

  temperature(scores, temperature) {
    for (let id = 0; id < scores.length; id++) scores[id]! /= temperature;
  },

  topK(scores, count) {
    if (count >= scores.length) return;
    dropBelow(scores, ascending(scores)[scores.length - count]!);
  },

  topP(scores, share) {
    const sorted = ascending(scores);
    const total = exponentialSum(sorted);
    const largest = sorted.at(-1)!;
    // From the least likely up, tokens go while what has gone is at most 1 - share of the whole.
    let gone = 0;
    let dropped = 0;
    for (; dropped < sorted.length - 1; dropped++) {
      gone += Math.exp(sorted[dropped]! - largest) / total;
      if (gone > 1 - share) break;
    }
    const least = sorted[dropped]!;
    let ties = dropped - sorted.indexOf(least);
    dropBelow(scores, least);
    for (let id = 0; ties > 0; id++)
      if (scores[id] === least) {
        scores[id] = Number.NEGATIVE_INFINITY;
        ties--;
      }
  },

  minP(scores, share) {
    dropBelow(scores, scores[likeliest(scores)]! + Math.log(share));
  },
} satisfies Record<keyof Sampling, ScoreProcessor>;

/** The value with which a setting changes nothing, so that its rule is skipped. */
export const NEUTRAL = {
  repetitionPenalty: 1,
  temperature: 1,
  topK: Number.POSITIVE_INFINITY,
  topP: 1,
  minP: 0,
} as const satisfies Record<keyof Sampling, number>;

/** The id with the largest score, the first of equals. */
export function likeliest(scores: Float32Array): number {
  let best = 0;
  for (let id = 1; id < scores.length; id++) if (scores[id]! > scores[best]!) best = id;
  return best;
}

const ascending = (scores: Float32Array): Float32Array => scores.slice().sort();

function dropBelow(scores: Float32Array, least: number): void {
  for (let id = 0; id < scores.length; id++)
    if (scores[id]! < least) scores[id] = Number.NEGATIVE_INFINITY;
}

/** Σ exp(score − largest) of sorted scores. */
function exponentialSum(sorted: Float32Array): number {
  const largest = sorted.at(-1)!;
  let total = 0;
  for (const score of sorted) total += Math.exp(score - largest);
  return total;
}
