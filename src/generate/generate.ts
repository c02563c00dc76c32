// Continues several token sequences at once.

import { createDecoder, type DecodableModel } from "../engine/decoding/decoder.ts";
import { textContext } from "../engine/text-context.ts";
import { TunesmithError } from "../errors.ts";
import type { Tokenizer } from "../hub/index.ts";
import type { TokenConstraint } from "./constraint/answer-constraint.ts";
import { constraintOf, type ResponseFormat } from "./constraint/response-format.ts";
import type { ChosenLogProbability } from "./log-probabilities.ts";
import {
  checkGeneration,
  type GenerationOptions,
  type GenerationSource,
  type StopReason,
} from "./options.ts";
import { startSequence } from "./sequence.ts";
import { createStopStrings } from "./stop-strings.ts";
import { createTextPieces } from "./text-pieces.ts";

/** What generation needs of a model; an `EngineModel` has it. */
export type GenerativeModel = DecodableModel & GenerationSource;

export interface GenerateOptions extends GenerationOptions {
  /** Prompts, of any lengths. */
  readonly inputIds: readonly (readonly number[])[];
  /** Needed where there are stop strings or a response format. */
  readonly tokenizer?: Tokenizer;
}

export interface GenerateResult {
  /** New tokens of each prompt; the stop token, where one came, is the last of them. */
  readonly tokenIds: number[][];
  readonly stoppedBecause: StopReason[];
  /** Of each new token of each prompt, where `logProbabilities` is given. */
  readonly logProbabilities?: readonly (readonly ChosenLogProbability[])[];
}

/**
 * Continues prompts; greedy unless a temperature is given.
 *
 * @throws TunesmithError (config) for options out of range and prompts that do not fit into the
 *   context; the signal's reason where it aborts
 * @example
 *     const { tokenIds } = await generate(model, { inputIds: [[1, 4093, 198]], maxNewTokens: 16 });
 */
export async function generate(
  model: GenerativeModel,
  options: GenerateOptions,
): Promise<GenerateResult> {
  const { inputIds, signal } = options;
  checkGeneration(inputIds, options, textContext(model));
  const texts = textWatchers(options);
  const constraints = constraintsOf(options);
  const sequences = inputIds.map((prompt, row) =>
    startSequence(model, prompt, options, row, constraints[row]),
  );
  const decoder = createDecoder(model, { batch: inputIds.length });
  let fresh: readonly (readonly number[])[] = inputIds;
  while (fresh.some((row) => row.length > 0)) {
    signal?.throwIfAborted();
    const logits = await decoder.append(fresh);
    fresh = sequences.map((sequence, row) => {
      if (sequence.stoppedBecause) return [];
      const id = sequence.next(logits[row]!);
      if (texts[row]?.(id)) sequence.stop("stop-string");
      return sequence.stoppedBecause ? [] : [id];
    });
  }
  return {
    tokenIds: sequences.map((sequence) => [...sequence.tokenIds]),
    stoppedBecause: sequences.map((sequence) => sequence.stoppedBecause!),
    ...(options.logProbabilities !== undefined && {
      logProbabilities: sequences.map(({ logProbabilities }) => logProbabilities),
    }),
  };
}

/** For each prompt what its answer is held to; none where nothing is. */
function constraintsOf(options: GenerateOptions): (TokenConstraint | undefined)[] {
  const { inputIds, responseFormat, tokenizer } = options;
  if (responseFormat === undefined) return [];
  const formats: readonly (ResponseFormat | undefined)[] = Array.isArray(responseFormat)
    ? responseFormat
    : inputIds.map(() => responseFormat as ResponseFormat);
  if (formats.length !== inputIds.length)
    throw new TunesmithError("config", {
      where: "generate: responseFormat",
      rule: "a list of formats has one for each prompt",
      seen: `${formats.length} for ${inputIds.length} prompts`,
      fix: "pass one format for all, or undefined for prompts that need none",
    });
  if (!tokenizer)
    throw new TunesmithError("config", {
      where: "generate: responseFormat",
      rule: "a format is kept to by the bytes of tokens, which takes a tokenizer",
      seen: "no tokenizer",
      fix: "pass tokenizer: await model.loadTokenizer()",
    });
  return formats.map((format) => format && constraintOf(format, tokenizer));
}

/** For each prompt, a function that says of each token whether it completes a stop string; none without any. */
function textWatchers({
  inputIds,
  stopStrings = [],
  tokenizer,
}: GenerateOptions): ((tokenId: number) => boolean)[] {
  if (stopStrings.length === 0) return [];
  if (!tokenizer)
    throw new TunesmithError("config", {
      where: "generate: stopStrings",
      rule: "stop strings are looked for in text, which takes a tokenizer",
      seen: "no tokenizer",
      fix: "pass tokenizer: await model.loadTokenizer(), or use stopTokenIds",
    });
  return inputIds.map((prompt) => {
    const pieces = createTextPieces(tokenizer, prompt);
    const stops = createStopStrings(stopStrings);
    return (id: number) => stops.add(pieces.add(id)).stopped;
  });
}
