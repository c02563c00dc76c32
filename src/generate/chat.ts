// A conversation with a model: history, chat template, and answers that read only what is new.

import { type ChatMessage, encodeChat, type Tokenizer } from "../hub/index.ts";
import type { GenerativeModel } from "./generate.ts";
import type { GenerationOptions } from "./options.ts";
import { createTextStream, type TextPiece } from "./stream-text.ts";

export interface Chat {
  /** Everything said so far; an answer joins it once it has come to its end or was left. */
  readonly messages: readonly ChatMessage[];
  /** Says something as the user and streams the answer. */
  send(content: string, options?: GenerationOptions): AsyncGenerator<TextPiece, void>;
  /** Starts over with these messages. Default: none. */
  reset(messages?: readonly ChatMessage[]): void;
}

/**
 * @param start messages to begin with, such as a system message
 * @throws TunesmithError when something is sent to a model without a chat template
 * @example
 *     const chat = createChat(model, await model.loadTokenizer());
 *     for await (const { text } of chat.send("What is a fjord?")) process.stdout.write(text);
 */
export function createChat(
  model: GenerativeModel,
  tokenizer: Tokenizer,
  start: readonly ChatMessage[] = [],
): Chat {
  const stream = createTextStream(model, tokenizer);
  let messages = [...start];
  return {
    get messages() {
      return messages;
    },
    async *send(content, options = {}) {
      const asked = [...messages, { role: "user", content }];
      const { inputIds } = encodeChat(tokenizer, asked, { addGenerationPrompt: true });
      let answer = "";
      try {
        for await (const piece of stream.continue(inputIds, options)) {
          answer += piece.text;
          yield piece;
        }
      } finally {
        if (answer !== "") messages = [...asked, { role: "assistant", content: answer }];
      }
    },
    reset(next = []) {
      messages = [...next];
    },
  };
}
