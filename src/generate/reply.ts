// One request while it is answered: what each new token adds to its text, when it is at its end, and how
// who asked learns of both, piece by piece or all at once.

import { TunesmithError } from "../errors.ts";
import type { Tokenizer } from "../hub/index.ts";
import type { ChosenLogProbability } from "./log-probabilities.ts";
import type { GenerationOptions, GenerationSource, StopReason } from "./options.ts";
import { startSequence } from "./sequence.ts";
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
  const sequence = startSequence(model, prompt, options, stream);
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
  const complete = () => {
    ended = {};
    const { tokenIds, logProbabilities, stoppedBecause } = sequence;
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
      const tokenId = sequence.next(logits);
      text.push(tokenId);
      const added = watcher?.add(tokenId);
      if (added?.stopped) sequence.stop("stop-string");
      const isLast = sequence.stoppedBecause !== undefined;
      const rest = isLast && !added?.stopped ? (watcher?.finish() ?? "") : "";
      pieces.push({ text: (added?.text ?? "") + rest, tokenId });
      if (isLast) complete();
      tell();
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

/** @throws TunesmithError (config) where stop strings are wanted and there is no tokenizer */
export function checkStopStrings(stopStrings: readonly string[], tokenizer?: Tokenizer): void {
  if (stopStrings.length === 0 || tokenizer) return;
  throw new TunesmithError("config", {
    where: "generate: stopStrings",
    rule: "stop strings are looked for in text, which takes a tokenizer",
    seen: "no tokenizer",
    fix: "pass tokenizer: await model.loadTokenizer(), or use stopTokenIds",
  });
}
