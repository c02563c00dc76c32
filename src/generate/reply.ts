// One request while it is answered: what each new token adds to its text, when it is at its end, and how
// who asked learns of both, piece by piece or all at once.

import { TunesmithError } from "../errors.ts";
import type { Tokenizer } from "../hub/index.ts";
import { constraintOf } from "./constraint/response-format.ts";
import type { ChosenLogProbability } from "./log-probabilities.ts";
import type { GenerationOptions, GenerationSource, StopReason } from "./options.ts";
import { type Sequence, startSequence } from "./sequence.ts";
import { createStopStrings } from "./stop-strings.ts";
import { createTextPieces } from "./text-pieces.ts";

export interface TextPiece {
  /** Text that became certain with this token; may be empty, never part of a character. */
  readonly text: string;
  readonly tokenId: number;
}

/** A whole answer. */
export interface FinishedReply {
  /** New tokens; the stop token, where one came, is the last of them. */
  readonly tokenIds: readonly number[];
  /** Their text, without the stop string; empty where there is no tokenizer. */
  readonly text: string;
  readonly stoppedBecause: StopReason;
  /** Of each new token, where `logProbabilities` is given. */
  readonly logProbabilities?: readonly ChosenLogProbability[];
}

/**
 * The answer to a request, as it comes. Iteration begins with the first piece, whenever it begins; it ends
 * where the request's signal aborts, and leaving it before the end ends the request.
 */
export interface Reply extends AsyncIterable<TextPiece> {
  /** @throws the signal's reason where it aborts; TunesmithError (config, data) for what cannot be answered */
  readonly finished: Promise<FinishedReply>;
}

/** The reply of a request, and what drives it. */
export interface ReplyInProgress {
  readonly reply: Reply;
  /** Prompt and answer so far. */
  readonly text: readonly number[];
  /** Whether nobody waits for more of it, or it is complete. */
  readonly isOver: boolean;
  /** Chooses the next token. @param logits [vocabulary] */
  take(logits: Float32Array): void;
  fail(error: unknown): void;
}

/** @param stream tells requests with the same seed apart */
export function startReply(
  model: GenerationSource,
  prompt: readonly number[],
  options: GenerationOptions,
  tokenizer: Tokenizer | undefined,
  stream: number,
): ReplyInProgress {
  const { responseFormat } = options;
  /** Begun with the first token: options are checked by then, see `prepareText`. */
  let sequence: Sequence | undefined;
  const begin = () => {
    const constraint = responseFormat && tokenizer && constraintOf(responseFormat, tokenizer);
    return startSequence(model, prompt, options, stream, constraint);
  };
  const watcher = tokenizer && watchText(tokenizer, prompt, options.stopStrings ?? []);
  const text = [...prompt];
  const pieces: TextPiece[] = [];
  const { promise: finished, resolve, reject } = Promise.withResolvers<FinishedReply>();
  // Who reads pieces alone learns of the end there.
  finished.catch(() => {});
  let ended: { readonly error?: unknown } | undefined;
  let changed = Promise.withResolvers<void>();

  const tell = () => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const fail = (error: unknown) => {
    if (ended) return;
    ended = { error };
    reject(error);
    tell();
  };
  const complete = ({ tokenIds, logProbabilities, stoppedBecause }: Sequence) => {
    ended = {};
    resolve({
      tokenIds: [...tokenIds],
      text: pieces.map((piece) => piece.text).join(""),
      stoppedBecause: stoppedBecause!,
      ...(options.logProbabilities !== undefined && { logProbabilities }),
    });
  };

  async function* iterate(): AsyncGenerator<TextPiece, void> {
    try {
      for (let at = 0; ; at++) {
        while (at >= pieces.length && !ended) await changed.promise;
        if (options.signal?.aborted) return;
        if (at < pieces.length) yield pieces[at]!;
        else if (ended && "error" in ended) throw ended.error;
        else return;
      }
    } finally {
      fail(new DOMException("Nobody reads the reply any more.", "AbortError"));
    }
  }

  return {
    reply: { finished, [Symbol.asyncIterator]: iterate },
    text,
    get isOver() {
      if (options.signal?.aborted) fail(options.signal.reason);
      return ended !== undefined;
    },
    take(logits) {
      if (ended) return;
      try {
        sequence ??= begin();
        const tokenId = sequence.next(logits);
        text.push(tokenId);
        const added = watcher?.add(tokenId);
        if (added?.stopped) sequence.stop("stop-string");
        const isLast = sequence.stoppedBecause !== undefined;
        const rest = isLast && !added?.stopped ? (watcher?.finish() ?? "") : "";
        pieces.push({ text: (added?.text ?? "") + rest, tokenId });
        if (isLast) complete(sequence);
        tell();
      } catch (error) {
        // A form that the vocabulary cannot spell ends this request and no other.
        fail(error);
      }
    },
    fail,
  };
}

/** Turns tokens into text that ends before the first stop string. */
function watchText(
  tokenizer: Tokenizer,
  prompt: readonly number[],
  stopStrings: readonly string[],
) {
  const pieces = createTextPieces(tokenizer, prompt);
  const stops = createStopStrings(stopStrings);
  return {
    add: (tokenId: number) => stops.add(pieces.add(tokenId)),
    /** What both were still holding back. */
    finish(): string {
      const last = stops.add(pieces.finish());
      return last.stopped ? last.text : last.text + stops.finish();
    },
  };
}

/**
 * What texts need before they are begun: a tokenizer for stop strings and forms, and a form in its tokens.
 *
 * @throws TunesmithError (config) where there is no tokenizer, or a form that no answer can be held to
 */
export function prepareText(
  { stopStrings = [], responseFormat }: GenerationOptions,
  tokenizer: Tokenizer | undefined,
): void {
  const lacking = (option: string, rule: string, otherwise = "") =>
    new TunesmithError("config", {
      where: `generate: ${option}`,
      rule,
      seen: "no tokenizer",
      fix: `pass tokenizer: await model.loadTokenizer()${otherwise}`,
    });
  if (stopStrings.length > 0 && !tokenizer)
    throw lacking(
      "stopStrings",
      "stop strings are looked for in text, which takes a tokenizer",
      ", or use stopTokenIds",
    );
  if (!responseFormat) return;
  if (!tokenizer)
    throw lacking(
      "responseFormat",
      "a form is kept to by the bytes of tokens, which takes a tokenizer",
    );
  constraintOf(responseFormat, tokenizer);
}
