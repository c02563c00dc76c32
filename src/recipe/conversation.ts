// A model to talk to: messages in, text out as it comes.

import { freemem } from "node:os";
import { openModel } from "../engine/load.ts";
import { textContext } from "../engine/text-context.ts";
import type { ModelDtype } from "../engine/weights/model-dtype.ts";
import {
  createTextStream,
  DEFAULT_NEW_TOKENS,
  type ResponseFormat,
  type StopReason,
  type Sampling as TokenChoice,
  withModelDefaults,
} from "../generate/index.ts";
import {
  type ChatMessage,
  type Checkpoint,
  encodeChat,
  openCheckpoint,
  type QuantizationType,
  type Tokenizer,
} from "../hub/index.ts";
import type { Attention } from "./attention.ts";
import { fetchModel } from "./prepare.ts";

export interface Sampling extends TokenChoice {
  /** Default 256. */
  readonly maxNewTokens?: number;
  /** Default 0: the same text every time. */
  readonly seed?: number;
}

export interface AnswerOptions extends Sampling {
  /** What the answer must look like. */
  readonly responseFormat?: ResponseFormat;
}

export interface Conversation {
  readonly tokenizer: Tokenizer;
  /**
   * The model's answer to a conversation; a model without a chat template continues its last message.
   * Returns why it ended: "length" where it was cut off, undefined where the signal aborted.
   */
  answer(
    messages: readonly ChatMessage[],
    options?: AnswerOptions,
    signal?: AbortSignal,
  ): AsyncGenerator<string, StopReason | undefined>;
  /** The text that follows a text. */
  continueText(
    text: string,
    options?: AnswerOptions,
    signal?: AbortSignal,
  ): AsyncGenerator<string, StopReason | undefined>;
  dispose(): Promise<void>;
}

export interface ConversationOptions extends Attention {
  /** Folder, GGUF file or hub id. */
  readonly model: string;
  readonly adapter?: string;
  /**
   * "q4" and "q8" keep matrices in blocks of so many bits: less memory, and the fastest answers. Default:
   * float32 where that fits into memory.
   */
  readonly dtype?: ModelDtype;
  /** Keeps linear weights as training over them has them: less memory, slower answers. */
  readonly quantization?: QuantizationType;
}

/**
 * Opens a model, with an adapter if one is given.
 *
 * @example
 *     const conversation = await openConversation({ model: "./my-model" });
 *     for await (const piece of conversation.answer([{ role: "user", content: "Hello" }]))
 *       process.stdout.write(piece);
 */
export async function openConversation(options: ConversationOptions): Promise<Conversation> {
  const path = await fetchModel(options.model, options);
  const { adapter, quantization: type, onWarning } = options;
  const checkpoint = await openCheckpoint(path);
  const dtype = options.dtype ?? (fitsWidened(checkpoint) ? "float32" : "auto");
  // Made while weights come from the disk; what is wrong with it is told behind what is with the model.
  const tokenizerLoaded = checkpoint.loadTokenizer().finally(() => checkpoint.close());
  tokenizerLoaded.catch(() => {});
  const model = await openModel(path, { adapter, dtype, quantization: { type }, onWarning });
  const tokenizer = await tokenizerLoaded;
  const context = textContext(model);

  const stream = createTextStream(model, tokenizer);

  async function* text(
    promptIds: readonly number[],
    sampling: AnswerOptions,
    signal?: AbortSignal,
  ): AsyncGenerator<string, StopReason | undefined> {
    // A long prompt leaves room for a shorter answer; one that leaves none is told as a fault.
    const room = Math.max(1, context - promptIds.length);
    const options = withModelDefaults(sampling, model.generationConfig);
    const pieces = stream.continue(promptIds, {
      ...options,
      maxNewTokens: Math.min(sampling.maxNewTokens ?? DEFAULT_NEW_TOKENS, room),
      signal,
    });
    for (;;) {
      const next = await pieces.next();
      if (next.done) return next.value;
      if (next.value.text !== "") yield next.value.text;
    }
  }

  const continueText: Conversation["continueText"] = (prompt, sampling = {}, signal) =>
    text(tokenizer.encode(prompt), sampling, signal);
  return {
    tokenizer,
    continueText,
    answer(messages, sampling = {}, signal) {
      if (tokenizer.chatTemplate === undefined)
        return continueText(messages.at(-1)?.content ?? "", sampling, signal);
      const { inputIds } = encodeChat(tokenizer, messages, { addGenerationPrompt: true });
      return text(inputIds, sampling, signal);
    },
    dispose: () => model.dispose(),
  };
}

/**
 * Whether the weights fit well into free memory as 32-bit numbers. Every token reads all of them, and
 * widening 16-bit ones takes several times as long as using them: then they are widened once.
 */
function fitsWidened({ tensors }: Checkpoint): boolean {
  let bytes = 0;
  for (const { shape } of tensors.values())
    bytes += 4 * shape.reduce((size, length) => size * length, 1);
  return bytes < freemem() / 2;
}
