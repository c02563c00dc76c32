// A model to talk to: messages in, text out as it comes.

import { existsSync } from "node:fs";
import { freemem } from "node:os";
import { join } from "node:path";
import { openBlank } from "../data/index.ts";
import type { PixelValues } from "../engine/batch.ts";
import { type EngineModel, openModel } from "../engine/load.ts";
import { textContext } from "../engine/text-context.ts";
import type { ModelDtype } from "../engine/weights/model-dtype.ts";
import { TunesmithError } from "../errors.ts";
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
  loadTokenizerFolder,
  openCheckpoint,
  type QuantizationType,
  type Tokenizer,
} from "../hub/index.ts";
import type { Attention } from "./attention.ts";
import { imageProcessorOf } from "./image-processor.ts";
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

export interface Conversation extends AsyncDisposable {
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
  const { model, tokenizer } = await openText(options);
  const context = textContext(model);

  const stream = createTextStream(model, tokenizer);
  const { source, architecture } = model;
  const imageProcessor = await orDispose(model, imageProcessorOf(source, architecture));

  async function* text(
    promptIds: readonly number[],
    sampling: AnswerOptions,
    signal?: AbortSignal,
    pixelValues?: readonly PixelValues[],
  ): AsyncGenerator<string, StopReason | undefined> {
    // A long prompt leaves room for a shorter answer; one that leaves none is told as a fault.
    const room = Math.max(1, context - promptIds.length);
    const options = withModelDefaults(sampling, model.generationConfig);
    const pieces = stream.continue(promptIds, {
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

  const continueText: Conversation["continueText"] = (prompt, sampling = {}, signal) =>
    text(promptIdsOf({ model, tokenizer }, prompt, true), sampling, signal);
  return {
    tokenizer,
    continueText,
    async *answer(messages, sampling = {}, signal) {
      const paths = messages.flatMap(({ parts = [] }) =>
        parts.flatMap((part) => (part.type === "image" ? part.image : [])),
      );
      if (paths.length > 0 && !(imageProcessor && tokenizer.chatTemplate !== undefined))
        throw looksAtNone(model.source, paths[0]!);
      if (paths.length === 0)
        return yield* text(promptIdsOf({ model, tokenizer }, messages), sampling, signal);
      const opened = [];
      for (const path of paths) opened.push(await imageProcessor!.open(path));
      const { inputIds } = encodeChat(tokenizer, messages, {
        addGenerationPrompt: true,
        images: {
          placeholder: imageProcessor!.placeholder,
          prompts: opened.map(({ prompt }) => prompt),
        },
      });
      const pictures = opened.map(({ pixelValues }) => pixelValues);
      return yield* text(inputIds, sampling, signal, pictures);
    },
    dispose: model.dispose,
    [Symbol.asyncDispose]: model.dispose,
  };
}

/** What a conversation is held with. */
export interface OpenedText {
  readonly model: EngineModel;
  readonly tokenizer: Tokenizer;
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
  return { model, tokenizer: await orDispose(model, tokenizerLoaded) };
}

/** What else an opened model needs; where that fails, nobody is left to dispose of the model. */
async function orDispose<Result>(model: EngineModel, needed: Promise<Result>): Promise<Result> {
  try {
    return await needed;
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/**
 * The tokens that an answer follows: a text is a user's message. Without a chat template, or where the
 * prompt is `raw`, it or the last message is continued as it is. A model that fills blanks has one to fill.
 */
export function promptIdsOf(
  { model, tokenizer }: OpenedText,
  prompt: string | readonly ChatMessage[],
  raw = false,
): readonly number[] {
  const messages = typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt;
  const inputIds =
    raw || tokenizer.chatTemplate === undefined
      ? tokenizer.encode(messages.at(-1)?.content ?? "")
      : encodeChat(tokenizer, messages, { addGenerationPrompt: true }).inputIds;
  const { blanks } = model.architecture.dimensions;
  return blanks ? openBlank(inputIds, blanks, tokenizer.eosTokenId) : inputIds;
}

/** An adapter for new tokens brings the tokenizer that has them. */
const tokenizerOf = (checkpoint: Checkpoint, adapter: string | undefined): Promise<Tokenizer> =>
  adapter !== undefined && existsSync(join(adapter, "tokenizer.json"))
    ? loadTokenizerFolder(adapter)
    : checkpoint.loadTokenizer();

const looksAtNone = (model: string, image: string) =>
  new TunesmithError("config", {
    where: model,
    rule: "images are for models that look at them, with a chat template",
    seen: image,
    fix: "use an Idefics3 or a SmolVLM with all files of its folder, or leave the image out",
  });

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
