// Continues several token sequences, side by side.

import { otherRowCount } from "../engine/adapters/adapter-faults.ts";
import type { AdapterChoice, AdapterSelection } from "../engine/adapters/adapter-set-contract.ts";
import type { PixelValues } from "../engine/batch.ts";
import { textContext } from "../engine/text-context.ts";
import { TunesmithError } from "../errors.ts";
import type { Tokenizer } from "../hub/index.ts";
import type { ResponseFormat } from "./constraint/response-format.ts";
import type { ChosenLogProbability } from "./log-probabilities.ts";
import { checkGeneration, type GenerationOptions, type StopReason } from "./options.ts";
import { prepareText } from "./reply.ts";
import { createRequests, type GenerativeModel, type RequestsOptions } from "./requests.ts";

export interface GenerateOptions
  extends Omit<GenerationOptions, "responseFormat">,
    RequestsOptions {
  /** Prompts, of any lengths. */
  readonly inputIds: readonly (readonly number[])[];
  /** One choice for all prompts, or one for each. Default: none. */
  readonly adapters?: AdapterSelection;
  /** For each prompt its pictures, in the order of their tokens; for models that look at images. */
  readonly pixelValues?: readonly (readonly PixelValues[] | undefined)[];
  /** What the new texts must look like: one form for all prompts, or one for each. */
  readonly responseFormat?: ResponseFormat | readonly (ResponseFormat | undefined)[] | undefined;
  /** Needed where there are stop strings or forms. */
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
 * Continues prompts; greedy unless a temperature is given. Each is a request of its own.
 *
 * @throws TunesmithError (config) for options out of range and prompts that do not fit into the
 *   context; the signal's reason where it aborts
 * @example
 *     const { tokenIds } = await generate(model, { inputIds: [[1, 4093, 198]], maxNewTokens: 16 });
 */
export async function generate(
  model: GenerativeModel,
  {
    inputIds,
    pixelValues = [],
    adapters = null,
    responseFormat,
    tokenizer,
    maxBatch,
    cacheBytes,
    ...options
  }: GenerateOptions,
): Promise<GenerateResult> {
  const choices = choicesOf(adapters, inputIds.length);
  // All faults of all prompts come before any work.
  const contexts = [textContext(model)];
  for (const choice of new Set(choices))
    if (choice !== null && model.adapters)
      contexts.push(textContext(await model.adapters.select(choice, 1)));
  checkGeneration(inputIds, options, Math.min(...contexts));
  const formats = formatsOf(responseFormat, inputIds.length);
  for (const format of new Set(formats))
    prepareText({ ...options, responseFormat: format }, tokenizer);
  const requests = createRequests({ model, tokenizer }, { maxBatch, cacheBytes });
  const replies = inputIds.map((prompt, row) =>
    requests.submit({
      ...options,
      inputIds: prompt,
      pixelValues: pixelValues[row],
      adapter: choices[row],
      responseFormat: formats[row],
      stream: row,
    }),
  );
  const finished = await Promise.all(replies.map((reply) => reply.finished));
  return {
    tokenIds: finished.map(({ tokenIds }) => [...tokenIds]),
    stoppedBecause: finished.map(({ stoppedBecause }) => stoppedBecause),
    ...(options.logProbabilities !== undefined && {
      logProbabilities: finished.map(({ logProbabilities }) => logProbabilities!),
    }),
  };
}

function choicesOf(adapters: AdapterSelection, rows: number): readonly AdapterChoice[] {
  if (!isRows(adapters)) return new Array<AdapterChoice>(rows).fill(adapters);
  if (adapters.length !== rows) throw otherRowCount(adapters.length, rows);
  return adapters;
}

function formatsOf(
  given: GenerateOptions["responseFormat"],
  rows: number,
): readonly (ResponseFormat | undefined)[] {
  if (!isFormats(given)) return new Array<ResponseFormat | undefined>(rows).fill(given);
  if (given.length === rows) return given;
  throw new TunesmithError("config", {
    where: "generate: responseFormat",
    rule: "a list of formats has one for each prompt",
    seen: `${given.length} for ${rows} prompts`,
    fix: "pass one format for all, or undefined for prompts that need none",
  });
}

const isFormats = (
  given: GenerateOptions["responseFormat"],
): given is readonly (ResponseFormat | undefined)[] => Array.isArray(given);

const isRows = (adapters: AdapterSelection): adapters is readonly (string | null)[] =>
  Array.isArray(adapters);
