// How likely the model itself held a token, before temperature, filters and penalties.

export interface TokenLogProbability {
  readonly tokenId: number;
  /** Natural logarithm of its share in the softmax of the logits. */
  readonly logProbability: number;
}

/** A token of an answer, and the likeliest ones in its place, likeliest first. */
export interface ChosenLogProbability extends TokenLogProbability {
  readonly top: readonly TokenLogProbability[];
}

/**
 * @param logits [vocabulary]
 * @param count how many of the likeliest tokens to tell
 */
export function logProbabilityOf(
  logits: Float32Array,
  tokenId: number,
  count: number,
): ChosenLogProbability {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  const total = largest + Math.log(sum);
  const of = (id: number) => ({ tokenId: id, logProbability: logits[id]! - total });
  return { ...of(tokenId), top: likeliestIds(logits, count).map(of) };
}

/** The ids of the `count` largest, largest first; of equal ones the lower id. */
function likeliestIds(logits: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let id = 0; id < logits.length; id++) {
    if (best.length === count && !(logits[id]! > logits[best.at(-1)!]!)) continue;
    const place = best.findIndex((other) => logits[id]! > logits[other]!);
    best.splice(place < 0 ? best.length : place, 0, id);
    if (best.length > count) best.pop();
  }
  return count === 0 ? [] : best;
}
