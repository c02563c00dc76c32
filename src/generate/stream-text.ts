// Text as it is generated. A stream keeps its decoder's cache between prompts, so a prompt that
// begins like the last one, as a conversation's next turn does, is read from where it differs.

import { createDecoder } from "../engine/decoding/decoder.ts";
import { textContext } from "../engine/text-context.ts";
import type { Tokenizer } from "../hub/index.ts";
import { constraintOf, type ResponseFormat } from "./constraint/response-format.ts";
import type { GenerativeModel } from "./generate.ts";
import {
  checkGeneration,
  type GenerationOptions,
  type StopReason,
  stopTokenIds,
} from "./options.ts";
import { startSequence } from "./sequence.ts";
import { createStopStrings } from "./stop-strings.ts";
import { createTextPieces } from "./text-pieces.ts";

export interface TextPiece {
  /** Text that became certain with this token; may be empty, never part of a character. */
  readonly text: string;
  readonly tokenId: number;
}

/** What one text may be asked; its format is one. */
export interface StreamOptions extends GenerationOptions {
  readonly responseFormat?: ResponseFormat;
}

export interface TextStream {
  /** Continues a prompt. One continuation at a time; it returns why it ended, undefined where its signal aborted. */
  continue(
    promptIds: readonly number[],
    options?: StreamOptions,
  ): AsyncGenerator<TextPiece, StopReason | undefined>;
}

/**
 * A source of continuations that share what they have in common at the beginning. Each comes piece by
 * piece and ends where its signal aborts; it throws a TunesmithError (config) for options out of range
 * and a prompt that does not fit.
 *
 * @example
 *     const stream = createTextStream(model, tokenizer);
 *     for await (const { text } of stream.continue(tokenizer.encode("Once upon")))
 *       process.stdout.write(text);
 */
export function createTextStream(model: GenerativeModel, tokenizer: Tokenizer): TextStream {
  const decoder = createDecoder(model);
  const ends = stopTokenIds(model, tokenizer);
  let cached: number[] = []; // tokens whose keys and values the decoder holds

  /** Reads a prompt, or a token, behind what is cached. */
  const read = async (ids: readonly number[]): Promise<Float32Array> => {
    const [logits] = await decoder.append([ids]);
    cached.push(...ids);
    return logits!;
  };

  return {
    async *continue(promptIds, options = {}) {
      checkGeneration([promptIds], options, textContext(model));
      const { signal, stopStrings = [], responseFormat } = options;
      const constraint = responseFormat && constraintOf(responseFormat, tokenizer);
      // At least the last token is read again: its logits are what comes next.
      const common = Math.min(commonPrefix(cached, promptIds), promptIds.length - 1);
      decoder.truncate(0, common);
      cached = cached.slice(0, common);

      const stopping = { ...options, stopTokenIds: options.stopTokenIds ?? ends };
      const sequence = startSequence(model, promptIds, stopping, 0, constraint);
      const pieces = createTextPieces(tokenizer, promptIds);
      const stops = createStopStrings(stopStrings);
      let fresh = promptIds.slice(common);
      while (!signal?.aborted) {
        const tokenId = sequence.next(await read(fresh));
        const added = stops.add(pieces.add(tokenId));
        if (added.stopped) sequence.stop("stop-string");
        const ended = sequence.stoppedBecause !== undefined;
        const rest = ended && !added.stopped ? endOf(pieces, stops) : "";
        yield { text: added.text + rest, tokenId };
        if (ended) return sequence.stoppedBecause;
        fresh = [tokenId];
      }
      return undefined;
    },
  };
}

/** What both were still holding back. */
function endOf(
  pieces: ReturnType<typeof createTextPieces>,
  stops: ReturnType<typeof createStopStrings>,
): string {
  const last = stops.add(pieces.finish());
  return last.stopped ? last.text : last.text + stops.finish();
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
