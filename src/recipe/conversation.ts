// A model to talk to: messages in, text out as it comes.

import { existsSync } from "node:fs";
import { freemem } from "node:os";
import { join } from "node:path";
import { type EngineModel, openModel } from "../engine/load.ts";
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
  type Checkpoint,
  loadTokenizerFolder,
  openCheckpoint,
  type QuantizationType,
  type Tokenizer,
} from "../hub/index.ts";
import type { Attention } from "./attention.ts";
import { imageProcessorOf } from "./image-processor.ts";
import { fetchModel } from "./prepare.ts";
import { createPromptReader, type Message, type Prompt, type PromptReader } from "./prompts.ts";

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

export interface Conversation extends AsyncDisposable {
  readonly tokenizer: Tokenizer;
  /**
   * The model's answer to a conversation; a model without a chat template continues its last message.
   * Images are parts of a message's content: `{ type: "image", image: "photo.jpg" }`.
   * Returns why it ended: "length" where it was cut off, undefined where the signal aborted.
   */
  answer(
    messages: readonly Message[],
    options?: AnswerOptions,
    signal?: AbortSignal,
  ): AsyncGenerator<string, StopReason | undefined>;
  /** The text that follows a text. */
  continueText(
    text: string,
    options?: AnswerOptions,
    signal?: AbortSignal,
  ): AsyncGenerator<string, StopReason | undefined>;
  /**
  /**
   * Looks at the head of an image file: how many tokens it takes in a conversation.
   * @throws TunesmithError (data) for a file that is no image, (config) for a model that looks at none
   */
  openImage(path: string): Promise<{ readonly tokens: number }>;
  /**
   * Frees kernels and files; again it does nothing. An answer that is under way, and those asked for
   * afterwards, throw a TunesmithError (run).
   */
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
  const { model, tokenizer, prompts } = await openText(options);
  const context = textContext(model);
  const stream = createTextStream(model, tokenizer);

  async function* text(
    { inputIds, pixelValues }: Prompt,
    sampling: AnswerOptions,
    signal?: AbortSignal,
  ): AsyncGenerator<string, StopReason | undefined> {
    // A long prompt leaves room for a shorter answer; one that leaves none is told as a fault.
    const room = Math.max(1, context - inputIds.length);
    const options = withModelDefaults(sampling, model.generationConfig);
    const pieces = stream.continue(inputIds, {
      ...options,
      maxNewTokens: Math.min(sampling.maxNewTokens ?? DEFAULT_NEW_TOKENS, room),
      signal,
      pixelValues,
    });
    try {
      for (;;) {
        const next = await pieces.next();
        if (next.done) return next.value;
        if (next.value.text !== "") yield next.value.text;
      }
    } finally {
      await pieces.return(undefined);
    }
  }

  return {
    tokenizer,
    async *continueText(prompt, sampling = {}, signal) {
      return yield* text(await prompts.read(prompt, true), sampling, signal);
    },
    async *answer(messages, sampling = {}, signal) {
      return yield* text(await prompts.read(messages), sampling, signal);
    },
    openImage: prompts.openImage,
    dispose: model.dispose,
    [Symbol.asyncDispose]: model.dispose,
  };
}

/** What a conversation is held with. */
export interface OpenedText {
  readonly model: EngineModel;
  readonly tokenizer: Tokenizer;
  readonly prompts: PromptReader;
}

/** The caller disposes of the model. */
export async function openText(options: ConversationOptions): Promise<OpenedText> {
  const path = await fetchModel(options.model, options);
  const { adapter, quantization: type, signal, onWarning } = options;
  const checkpoint = await openCheckpoint(path);
  const dtype = options.dtype ?? (fitsWidened(checkpoint) ? "float32" : "auto");
  // Made while weights come from the disk; what is wrong with it is told behind what is with the model.
  const tokenizerLoaded = tokenizerOf(checkpoint, adapter).finally(() => checkpoint.close());
  tokenizerLoaded.catch(() => {});
  const quantization = { type };
  const model = await openModel(path, { adapter, dtype, quantization, signal, onWarning });
  return orDispose(model, async () => {
    const tokenizer = await tokenizerLoaded;
    const imageProcessor = await imageProcessorOf(model.source, model.architecture);
    return { model, tokenizer, prompts: createPromptReader({ model, tokenizer, imageProcessor }) };
  });
}

/** What else an opened model needs; where that fails, nobody is left to dispose of the model. */
async function orDispose<Result>(
  model: EngineModel,
  needed: () => Promise<Result>,
): Promise<Result> {
  try {
    return await needed();
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/** An adapter for new tokens brings the tokenizer that has them. */
const tokenizerOf = (checkpoint: Checkpoint, adapter: string | undefined): Promise<Tokenizer> =>
  adapter !== undefined && existsSync(join(adapter, "tokenizer.json"))
    ? loadTokenizerFolder(adapter)
    : checkpoint.loadTokenizer();

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
