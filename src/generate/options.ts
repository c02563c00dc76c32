// What a caller may ask of a generation, what a model's own files say where the caller did not, and
// the checks that come before any work.

import { type Fault, TunesmithError } from "../errors.ts";
import type { JsonObject, Tokenizer } from "../hub/index.ts";
import type { BoundArchitecture } from "../models/index.ts";
import type { ResponseFormat } from "./constraint/response-format.ts";
import type { Sampling } from "./score-processors.ts";

export interface GenerationOptions extends Sampling {
  /** Default 256. */
  readonly maxNewTokens?: number;
  /** The same seed gives the same tokens. Default 0. */
  readonly seed?: number;
  /** Ids that end a sequence. Default: the end-of-text ids that the model's files name. */
  readonly stopTokenIds?: readonly number[];
  /** Texts that end a sequence. */
  readonly stopStrings?: readonly string[];
  /** Goes on behind every stop token, up to `maxNewTokens`. */
  readonly ignoreEos?: boolean;
  /**
   * Tells how likely the model held each new token, and so many of the likeliest in its place; 0 for the
   * token alone.
   */
  readonly logProbabilities?: number;
  /** What the new text must look like. It takes a tokenizer. */
  readonly responseFormat?: ResponseFormat | undefined;
  readonly signal?: AbortSignal;
}

/**
 * Why a sequence ended. Where it is held to a form, "stop-token" and "complete" (nothing may follow) mean
 * that it fits; behind "length" it may lack its end.
 */
export type StopReason = "length" | "stop-token" | "stop-string" | "complete";

export const DEFAULT_NEW_TOKENS = 256;

/** What the model's files say about generating. */
export interface GenerationSource {
  readonly config: JsonObject;
  readonly generationConfig: JsonObject | undefined;
  readonly architecture?: Pick<BoundArchitecture, "dimensions">;
}

/**
 * The ids that end a sequence: those of generation_config.json, else of config.json, as in Transformers;
 * where text is wanted, the tokenizer's as well: a chat model's files may name the end of a turn there
 * alone. A model that fills blanks ends with what it puts behind that.
 */
export function stopTokenIds(
  { config, generationConfig, architecture }: GenerationSource,
  tokenizer?: Pick<Tokenizer, "eosTokenId">,
): number[] {
  const text = config.text_config as JsonObject | undefined; // of a model that looks at images
  const ids = [
    tokenizer?.eosTokenId,
    generationConfig?.eos_token_id ?? config.eos_token_id ?? text?.eos_token_id,
    architecture?.dimensions.blanks?.end,
  ];
  return [...new Set(ids.flat().filter((id) => typeof id === "number"))];
}

const CONFIG_KEYS = {
  temperature: "temperature",
  topK: "top_k",
  topP: "top_p",
  minP: "min_p",
  repetitionPenalty: "repetition_penalty",
} as const satisfies Record<keyof Sampling, string>;

/**
 * `options` with what generation_config.json says about sampling, wherever the caller says nothing.
 * As in Transformers, `do_sample` decides whether tokens are drawn at all; a temperature given by the
 * caller decides it instead. A key that the file lacks leaves its rule off.
 */
export function withModelDefaults<Options extends Sampling>(
  options: Options,
  generationConfig: JsonObject | undefined,
): Options {
  const defaults: { -readonly [Key in keyof Sampling]: number } = {};
  for (const [name, key] of Object.entries(CONFIG_KEYS)) {
    const value = generationConfig?.[key];
    // Files write 0 where a count or a share is off; top_k is then no filter.
    if (typeof value === "number" && !(name === "topK" && value === 0))
      defaults[name as keyof Sampling] = value;
  }
  defaults.temperature = generationConfig?.do_sample === true ? (defaults.temperature ?? 1) : 0;
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...defaults, ...(Object.fromEntries(given) as unknown as Options) };
}

const RANGES = {
  temperature: { rule: "a number of at least 0", holds: (x: number) => x >= 0 },
  topK: { rule: "a whole number of at least 1", holds: (x: number) => x >= 1 && isCount(x) },
  topP: { rule: "above 0 and at most 1", holds: (x: number) => x > 0 && x <= 1 },
  minP: { rule: "between 0 and 1", holds: (x: number) => x >= 0 && x <= 1 },
  repetitionPenalty: { rule: "a number above 0", holds: (x: number) => x > 0 },
  logProbabilities: {
    rule: "a whole number of at least 0",
    holds: (x: number) => x >= 0 && isCount(x),
  },
  maxNewTokens: {
    rule: "a whole number of at least 1",
    holds: (x: number) => x >= 1 && isCount(x),
  },
} as const;

const isCount = (x: number) => Number.isInteger(x) || x === Number.POSITIVE_INFINITY;

/**
 * @param maximumPositions the model's context, in tokens
 * @throws TunesmithError (config) naming every option out of range, an empty prompt, and a prompt
 *   that leaves no room for `maxNewTokens`
 */
export function checkGeneration(
  prompts: readonly (readonly number[])[],
  options: GenerationOptions,
  maximumPositions: number,
): void {
  const faults: Fault[] = [];
  for (const [name, { rule, holds }] of Object.entries(RANGES)) {
    const value = options[name as keyof typeof RANGES];
    if (value !== undefined && !holds(value))
      faults.push({ where: `generate: ${name}`, rule, seen: String(value), fix: "correct it" });
  }
  const { maxNewTokens = DEFAULT_NEW_TOKENS } = options;
  prompts.forEach((prompt, row) => {
    const where = `generate: inputIds, row ${row}`;
    if (prompt.length === 0)
      faults.push({
        where,
        rule: "a prompt has at least one token",
        seen: "none",
        fix: "begin with the tokenizer's bosTokenId",
      });
    else if (prompt.length + maxNewTokens > maximumPositions)
      faults.push({
        where,
        rule: `prompt and new tokens together fit into the model's context of ${maximumPositions} tokens`,
        seen: `${prompt.length} + maxNewTokens ${maxNewTokens}`,
        fix:
          prompt.length < maximumPositions
            ? `set maxNewTokens to at most ${maximumPositions - prompt.length}, or shorten the prompt`
            : "shorten the prompt",
      });
  });
  if (prompts.length === 0)
    faults.push({
      where: "generate: inputIds",
      rule: "there is at least one prompt",
      seen: "an empty list",
      fix: "pass [[…token ids]]",
    });
  if (faults.length > 0) throw new TunesmithError("config", faults);
}
