// Text as it is generated, one continuation at a time. What was read of the last one is kept, so a prompt
// that begins like it, images included, as a conversation's next turn does, is read from where it differs.

import type { PixelValues } from "../engine/batch.ts";
import { textContext } from "../engine/text-context.ts";
import type { Tokenizer } from "../hub/index.ts";
import {
  checkGeneration,
  type GenerationOptions,
  type StopReason,
  stopTokenIds,
} from "./options.ts";
import type { TextPiece } from "./reply.ts";
import { createRequests, type GenerativeModel } from "./requests.ts";

export interface ContinueOptions extends GenerationOptions {
  /** The prompt's pictures, in the order of their tokens. */
  readonly pixelValues?: readonly PixelValues[] | undefined;
}

export interface TextStream {
  /** Continues a prompt. One continuation at a time; it returns why it ended, undefined where its signal aborted. */
  continue(
    promptIds: readonly number[],
    options?: ContinueOptions,
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
  const source = { model, tokenizer, keepsTexts: true };
  const requests = createRequests(source, { maxBatch: 1 });
  const ends = stopTokenIds(model, tokenizer);
  return {
    async *continue(inputIds, options = {}) {
      checkGeneration([inputIds], options, textContext(model));
      const stops = options.stopTokenIds ?? ends;
      const reply = requests.submit({ ...options, inputIds, stopTokenIds: stops });
      yield* reply;
      return options.signal?.aborted ? undefined : (await reply.finished).stoppedBecause;
    },
  };
}
