// Text as it is generated. A stream keeps its decoder's cache between prompts, so a prompt that
// begins like the last one, as a conversation's next turn does, is read from where it differs.

import type { PixelValues } from "../engine/batch.ts";
import { createDecoder } from "../engine/decoding/decoder.ts";
import { createReadImages } from "../engine/decoding/read-images.ts";
import { textContext } from "../engine/text-context.ts";
import type { Tokenizer } from "../hub/index.ts";
import type { GenerativeModel } from "./generate.ts";
import { checkGeneration, type GenerationOptions, stopTokenIds } from "./options.ts";
import { startSequence } from "./sequence.ts";
import { createStopStrings } from "./stop-strings.ts";
import { createTextPieces } from "./text-pieces.ts";

export interface TextPiece {
  /** Text that became certain with this token; may be empty, never part of a character. */
  readonly text: string;
  readonly tokenId: number;
}

export interface ContinueOptions extends GenerationOptions {
  /** The prompt's pictures, in the order of their tokens. Such a prompt is read from its beginning. */
  readonly pixelValues?: readonly PixelValues[] | undefined;
}

export interface TextStream {
  /** Continues a prompt. One continuation at a time. */
  continue(
    promptIds: readonly number[],
    options?: ContinueOptions,
  ): AsyncGenerator<TextPiece, void>;
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
  const readImages = createReadImages(model);
  let cached: number[] = []; // tokens whose keys and values the decoder holds
  let sawImages = false; // whether some of them stand for images

  /** Reads a prompt, or a token, behind what is cached. */
  const read = async (ids: readonly number[], images?: Float32Array): Promise<Float32Array> => {
    const [logits] = await decoder.append([ids], [images]);
    cached.push(...ids);
    return logits!;
  };

  return {
    async *continue(promptIds, options = {}) {
      checkGeneration([promptIds], options, textContext(model));
      const { signal, stopStrings = [], pixelValues } = options;
      // At least the last token is read again: its logits are what comes next.
      const shared = pixelValues || sawImages ? 0 : commonPrefix(cached, promptIds);
      const common = Math.min(shared, promptIds.length - 1);
      decoder.truncate(0, common);
      cached = cached.slice(0, common);

      sawImages = pixelValues !== undefined;
      let images = pixelValues && (await readImages(promptIds, pixelValues));

      const sequence = startSequence(model, promptIds, {
        ...options,
        stopTokenIds: options.stopTokenIds ?? ends,
      });
      const pieces = createTextPieces(tokenizer, promptIds);
      const stops = createStopStrings(stopStrings);
      let fresh = promptIds.slice(common);
      while (!signal?.aborted) {
        const tokenId = sequence.next(await read(fresh, images));
        images = undefined;
        const added = stops.add(pieces.add(tokenId));
        if (added.stopped) sequence.stop("stop-string");
        const ended = sequence.stoppedBecause !== undefined;
        const rest = ended && !added.stopped ? endOf(pieces, stops) : "";
        yield { text: added.text + rest, tokenId };
        if (ended) return;
        fresh = [tokenId];
      }
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
