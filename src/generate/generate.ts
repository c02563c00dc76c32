// Continues several token sequences at once.

import type { PixelValues } from "../engine/batch.ts";
import { createDecoder, type DecodableModel } from "../engine/decoding/decoder.ts";
import { createReadImages } from "../engine/decoding/read-images.ts";
import { textContext } from "../engine/text-context.ts";
import { TunesmithError } from "../errors.ts";
import type { Tokenizer } from "../hub/index.ts";
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
  /** For each prompt its pictures, in the order of their tokens; for models that look at images. */
  readonly pixelValues?: readonly (readonly PixelValues[] | undefined)[];
  /** Needed where there are stop strings. */
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
  const sequences = inputIds.map((prompt, row) => startSequence(model, prompt, options, row));
  const decoder = createDecoder(model, { batch: inputIds.length });
  let images = await imagesOf(model, options);
  let fresh: readonly (readonly number[])[] = inputIds;
  while (fresh.some((row) => row.length > 0)) {
    signal?.throwIfAborted();
    const logits = await decoder.append(fresh, images);
    images = [];
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

/** What image tokens of each prompt give way to. */
async function imagesOf(
  model: GenerativeModel,
  { inputIds, pixelValues = [] }: GenerateOptions,
): Promise<(Float32Array | undefined)[]> {
  if (pixelValues.length === 0) return [];
  const read = createReadImages(model);
  const images: (Float32Array | undefined)[] = [];
  for (const [row, pictures] of pixelValues.entries())
    images.push(pictures && (await read(inputIds[row]!, pictures)));
  return images;
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
