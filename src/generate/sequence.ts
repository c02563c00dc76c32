// One sequence being continued: how its next token is chosen, and when it is at its end.

import { createRandom } from "../runtime/random.ts";
import { chooseToken } from "./choose-token.ts";
import { constrainAnswer, type TokenConstraint } from "./constraint/answer-constraint.ts";
import { type ChosenLogProbability, logProbabilityOf } from "./log-probabilities.ts";
import {
  DEFAULT_NEW_TOKENS,
  type GenerationOptions,
  type GenerationSource,
  type StopReason,
  stopTokenIds,
} from "./options.ts";

export interface Sequence {
  /** New tokens so far, the one that ended the sequence included. */
  readonly tokenIds: readonly number[];
  readonly stoppedBecause: StopReason | undefined;
  /** Of each new token, where they are asked for. */
  readonly logProbabilities: readonly ChosenLogProbability[];
  /** Chooses the token that follows. @param logits [vocabulary] */
  next(logits: Float32Array): number;
  /** Ends the sequence at its last token. */
  stop(reason: StopReason): void;
}

/**
 * @param row tells sequences with the same seed apart
 * @param constraint what the new tokens are held to
 */
export function startSequence(
  model: GenerationSource,
  prompt: readonly number[],
  options: GenerationOptions,
  row = 0,
  constraint?: TokenConstraint,
): Sequence {
  const { maxNewTokens = DEFAULT_NEW_TOKENS, seed = 0, ignoreEos = false } = options;
  const { logProbabilities: told } = options;
  const stops = new Set(ignoreEos ? [] : (options.stopTokenIds ?? stopTokenIds(model)));
  const random = createRandom(seed).fork(row);
  const form = constraint && constrainAnswer(constraint, stops);
  const all = [...prompt];
  const tokenIds: number[] = [];
  const logProbabilities: ChosenLogProbability[] = [];
  let stoppedBecause: StopReason | undefined;
  return {
    tokenIds,
    logProbabilities,
    get stoppedBecause() {
      return stoppedBecause;
    },
    next(logits) {
      const id = chooseToken(logits, options, all, random, form?.restrict);
      if (told !== undefined) logProbabilities.push(logProbabilityOf(logits, id, told));
      all.push(id);
      tokenIds.push(id);
      form?.accept(id);
      if (stops.has(id)) stoppedBecause = "stop-token";
      else if (form?.isComplete) stoppedBecause = "complete";
      else if (tokenIds.length >= maxNewTokens) stoppedBecause = "length";
      return id;
    },
    stop(reason) {
      stoppedBecause = reason;
    },
  };
}
