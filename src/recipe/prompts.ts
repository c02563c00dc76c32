// What answers follow: texts and messages as token ids, with the pictures that messages name.

import { stat } from "node:fs/promises";
import { imagesIn, openBlank, readMessages } from "../data/index.ts";
import type { PixelValues } from "../engine/batch.ts";
import type { EngineModel } from "../engine/load.ts";
import { TunesmithError } from "../errors.ts";
import {
  type ChatMessage,
  type ContentPart,
  encodeChat,
  type ImageProcessor,
  NO_IMAGES,
  type OpenedImage,
  type Tokenizer,
} from "../hub/index.ts";

/** A message as people write it: text, or texts and images in their order. */
export interface Message {
  readonly role: string;
  readonly content: string | readonly ContentPart[];
}

export interface Prompt {
  readonly inputIds: readonly number[];
  /** In the order of their tokens. */
  readonly pixelValues?: readonly PixelValues[];
}

export interface PromptReader {
  /**
   * A text is a user's message. Without a chat template, or where the prompt is `raw`, it or the last message
   * is continued as it is. A model that fills blanks has one to fill.
   * @throws TunesmithError (data, config) for what is no message, images of a model that looks at none, and
   *   files that are no images
   */
  read(
    prompt: string | readonly Message[] | readonly ChatMessage[],
    raw?: boolean,
  ): Promise<Prompt>;
  /** Looks at the head of an image file: how many tokens it takes. Throws as `read` does. */
  openImage(path: string): Promise<{ readonly tokens: number }>;
}

export interface PromptSource {
  readonly model: EngineModel;
  readonly tokenizer: Tokenizer;
  readonly imageProcessor: ImageProcessor | undefined;
}

export function createPromptReader({
  model,
  tokenizer,
  imageProcessor,
}: PromptSource): PromptReader {
  const { blanks } = model.architecture.dimensions;
  // An unchanged file is one picture: what a conversation showed before is not encoded again.
  const opened = new Map<string, OpenedImage>();
  const open = async (path: string): Promise<OpenedImage> => {
    if (!imageProcessor || tokenizer.chatTemplate === undefined)
      throw looksAtNone(model.source, path);
    const written = await stat(path).catch(() => undefined);
    const key = `${written?.mtimeMs} ${path}`;
    const image = opened.get(key) ?? (await imageProcessor.open(path));
    opened.set(key, image);
    return image;
  };

  const inChat = async (messages: readonly ChatMessage[]): Promise<Prompt> => {
    const images: OpenedImage[] = [];
    for (const path of imagesIn([messages])) images.push(await open(path));
    const { placeholder } = imageProcessor ?? NO_IMAGES;
    const prompts = images.map(({ prompt }) => prompt);
    const { inputIds } = encodeChat(tokenizer, messages, {
      addGenerationPrompt: true,
      ...(imageProcessor && { images: { placeholder, prompts } }),
    });
    const pixelValues = images.map((image) => image.pixelValues);
    return { inputIds, ...(images.length > 0 && { pixelValues }) };
  };

  return {
    async read(prompt, raw = false) {
      const messages = messagesOf(prompt);
      const [image] = imagesIn([messages]);
      if (raw && image !== undefined) throw rawImage(image);
      const isPlain = raw || (tokenizer.chatTemplate === undefined && image === undefined);
      const read = isPlain
        ? { inputIds: tokenizer.encode(messages.at(-1)?.content ?? "") }
        : await inChat(messages);
      if (!blanks) return read;
      return { ...read, inputIds: openBlank(read.inputIds, blanks, tokenizer.eosTokenId) };
    },
    async openImage(path) {
      const { prompt } = await open(path);
      return { tokens: tokenizer.encode(prompt, { addSpecialTokens: false }).length };
    },
  };
}

function messagesOf(prompt: Parameters<PromptReader["read"]>[0]): readonly ChatMessage[] {
  if (typeof prompt === "string") return [{ role: "user", content: prompt }];
  // Those of data are read already.
  if (areRead(prompt)) return prompt;
  return readMessages({ record: { messages: prompt }, where: "conversation" }, "messages");
}

const areRead = (
  messages: readonly (Message | ChatMessage)[],
): messages is readonly ChatMessage[] =>
  messages.every(({ role, content }) => typeof role === "string" && typeof content === "string");

const looksAtNone = (model: string, image: string) =>
  new TunesmithError("config", {
    where: model,
    rule: "images are for models that look at them, with a chat template",
    seen: image,
    fix: "use an Idefics3 or a SmolVLM with all files of its folder, or leave the image out",
  });

const rawImage = (image: string) =>
  new TunesmithError("config", {
    where: "raw",
    rule: "the chat template says where images stand in a prompt",
    seen: image,
    fix: "leave out raw (--raw), or the image",
  });
