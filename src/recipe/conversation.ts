// A model to talk to: messages in, text out as it comes.

import { createDecoder } from "../engine/decoder.ts";
import { openModel } from "../engine/load.ts";
import { chooseToken, type Sampling as TokenChoice } from "../generate/choose-token.ts";
import { resolveModel } from "../hub/download.ts";
import { type ChatMessage, encodeChat, type Tokenizer } from "../hub/index.ts";
import { createRandom } from "../runtime/random.ts";

export interface Sampling extends TokenChoice {
  /** Default 256. */
  readonly maxNewTokens?: number;
  /** Default 0: the same text every time. */
  readonly seed?: number;
}

export interface Conversation {
  readonly tokenizer: Tokenizer;
  /** The model's answer to a conversation; a model without a chat template continues its last message. */
  answer(
    messages: readonly ChatMessage[],
    sampling?: Sampling,
    signal?: AbortSignal,
  ): AsyncGenerator<string, void>;
  /** The text that follows a text. */
  continueText(
    text: string,
    sampling?: Sampling,
    signal?: AbortSignal,
  ): AsyncGenerator<string, void>;
  dispose(): Promise<void>;
}

export interface ConversationOptions {
  /** Folder, GGUF file or hub id. */
  readonly model: string;
  readonly adapter?: string;
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
  const model = await openModel(await resolveModel(options.model), { adapter: options.adapter });
  const tokenizer = await model.loadTokenizer();
  const context = model.architecture.dimensions.maximumPositions;

  async function* tokens(
    prompt: readonly number[],
    sampling: Sampling,
    signal?: AbortSignal,
  ): AsyncGenerator<number, void> {
    const { maxNewTokens = 256, seed = 0 } = sampling;
    const random = createRandom(seed);
    const decoder = createDecoder(model);
    const all = [...prompt];
    let fresh: readonly number[] = prompt;
    const end = Math.min(prompt.length + maxNewTokens, context);
    while (all.length < end && !signal?.aborted) {
      const [logits] = await decoder.append([fresh]);
      const next = chooseToken(logits!, sampling, all, random);
      if (tokenizer.stopTokenIds.includes(next)) return;
      all.push(next);
      fresh = [next];
      yield next;
    }
  }

  async function* text(ids: AsyncIterable<number>): AsyncGenerator<string, void> {
    const all: number[] = [];
    let written = "";
    for await (const id of ids) {
      all.push(id);
      const decoded = tokenizer.decode(all, { skipSpecialTokens: true });
      // A character may take several tokens; until it is whole it decodes to a replacement mark.
      if (decoded.endsWith("\ufffd")) continue;
      yield decoded.slice(written.length);
      written = decoded;
    }
    const decoded = tokenizer.decode(all, { skipSpecialTokens: true });
    if (decoded.length > written.length) yield decoded.slice(written.length);
  }

  const continueText: Conversation["continueText"] = (prompt, sampling = {}, signal) =>
    text(tokens(tokenizer.encode(prompt), sampling, signal));
  return {
    tokenizer,
    continueText,
    answer(messages, sampling = {}, signal) {
      if (tokenizer.chatTemplate === undefined)
        return continueText(messages.at(-1)?.content ?? "", sampling, signal);
      const { inputIds } = encodeChat(tokenizer, messages, { addGenerationPrompt: true });
      return text(tokens(inputIds, sampling, signal));
    },
    dispose: () => model.dispose(),
  };
}
