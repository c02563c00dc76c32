// Examples to samples: the chat template or plain text, the end-of-text token, and the labels that say
// which tokens are trained on. What users wrote can never become a special token.

import { IGNORED_LABEL } from "../engine/batch.ts";
import { TunesmithError } from "../errors.ts";
import {
  type ChatMessage,
  commonPrefix,
  type EncodeChatOptions,
  type ImagePrompts,
  type Tokenizer,
} from "../hub/index.ts";
import type { BlankTokens } from "../models/index.ts";
import { answeredBlank } from "./blanks.ts";
import type { Example } from "./example.ts";
import { withRecord } from "./record-fault.ts";
import type { Sample } from "./sample.ts";

/** Renders and encodes a conversation; `encodeChat` of src/hub/tokenizers/chat-template.ts. */
export type EncodeChat = (
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  options?: EncodeChatOptions,
) => { inputIds: number[]; assistantMask: boolean[] };

/**
 * Which tokens are trained on.
 *
 * - "auto": the completion where there is a prompt, assistant turns of conversations, all of a text
 * - "all": every token
 * - "completion": what follows the prompt; of a conversation, its last assistant turn
 * - "assistant": every assistant turn, those inside a prompt too
 */
export type LossMode = "auto" | "all" | "completion" | "assistant";

export interface TokenizeOptions {
  readonly tokenizer: Tokenizer;
  readonly encodeChat: EncodeChat;
  readonly loss?: LossMode;
  /**
   * Whether texts end with the end-of-text token. Default true; a classifier judges by a text's own
   * last token, as Transformers' do.
   */
  readonly ends?: boolean;
  /**
   * For models that fill blanks: prompts are contexts and completions what fills their blank. Plain texts are
   * left as they are, to be blanked when they are cut.
   */
  readonly blanks?: BlankTokens | undefined;
}

/** `EncodeChat` for the messages of one example. */
type Chat = (messages: readonly ChatMessage[], where: string) => ReturnType<EncodeChat>;

interface Marked {
  readonly inputIds: number[];
  /** Trained on, by position. */
  readonly trained: (position: number) => boolean;
}

/**
 * Returns the function that tokenizes examples, `where` being their place in the data.
 *
 * Texts and completions end with the tokenizer's end-of-text token; a conversation ends as its template
 * says. A completion begins at the first token in which prompt and prompt + completion differ: where
 * a token spans the border, it belongs to the completion.
 *
 * @throws TunesmithError (config) for a loss mode that does not suit the model; (data) at an example that it
 *   does not suit, or that the chat template refuses.
 */
export function createTokenize(
  options: TokenizeOptions,
): (example: Example, where: string, images?: ImagePrompts) => Sample {
  const { tokenizer, encodeChat, loss = "auto", ends = true, blanks } = options;
  if (blanks && (loss === "all" || loss === "assistant")) throw fillsBlanks(loss);
  const end = ends ? tokenizer.eosTokenId : undefined;

  const chatWith = (
    messages: readonly ChatMessage[],
    where: string,
    images: ImagePrompts | undefined,
  ) => {
    try {
      return encodeChat(tokenizer, messages, images && { images });
    } catch (cause) {
      throw withRecord(where, cause);
    }
  };

  const conversation = (messages: readonly ChatMessage[], where: string, chat: Chat): Marked => {
    const { inputIds, assistantMask } = chat(messages, where);
    if (loss === "all") return { inputIds, trained: () => true };
    if (loss !== "completion") return { inputIds, trained: (at) => assistantMask[at] === true };
    const start = lastRun(assistantMask);
    return { inputIds, trained: (at) => at >= start && assistantMask[at] === true };
  };

  const completionOfTurns = (
    prompt: readonly ChatMessage[],
    completion: readonly ChatMessage[],
    where: string,
    chat: Chat,
  ): Marked => {
    const { inputIds, assistantMask } = chat([...prompt, ...completion], where);
    if (loss === "all") return { inputIds, trained: () => true };
    if (loss === "assistant" || prompt.length === 0)
      return { inputIds, trained: (at) => assistantMask[at] === true };
    const start = commonPrefix(chat(prompt, where).inputIds, inputIds);
    return { inputIds, trained: (at) => at >= start && assistantMask[at] === true };
  };

  const encode = (text: string) => tokenizer.encode(text, { parseSpecialTokens: false });

  const completionOfText = (prompt: string, completion: string, where: string): Marked => {
    if (loss === "assistant") throw unsuited(loss, "prompt and completion texts", where);
    const inputIds = withEnd(encode(prompt + completion), end);
    if (loss === "all") return { inputIds, trained: () => true };
    const promptIds = withoutEnd(encode(prompt), tokenizer.eosTokenId);
    const start = commonPrefix(promptIds, inputIds);
    return { inputIds, trained: (at) => at >= start };
  };

  const text = (content: string, where: string): Marked => {
    if (loss === "assistant" || loss === "completion") throw unsuited(loss, "plain texts", where);
    return { inputIds: withEnd(encode(content), end), trained: () => true };
  };

  /** Prompt and completion as texts, where they are not turns for the chat template. */
  const textsOf = ({ prompt, completion, plain }: Extract<Example, { kind: "completion" }>) => {
    if (plain && tokenizer.chatTemplate === undefined) return plain;
    return typeof prompt === "string" || typeof completion === "string"
      ? { prompt: prompt as string, completion: completion as string }
      : undefined;
  };

  const mark = (example: Example, where: string, chat: Chat): Marked => {
    if (example.kind === "text") return text(example.text, where);
    if (example.kind === "conversation") return conversation(example.messages, where, chat);
    const texts = textsOf(example);
    return texts
      ? completionOfText(texts.prompt, texts.completion, where)
      : completionOfTurns(
          example.prompt as readonly ChatMessage[],
          example.completion as readonly ChatMessage[],
          where,
          chat,
        );
  };

  /** The blank that the last answer fills. */
  const answered = (example: Example, where: string, tokens: BlankTokens, chat: Chat) => {
    const texts = example.kind === "completion" && textsOf(example);
    const plain = (text: string) =>
      tokenizer.encode(text, { addSpecialTokens: false, parseSpecialTokens: false });
    if (texts) {
      // Here, and here alone, what people wrote becomes a special token: the blank that they mean.
      const parts = texts.prompt.split(tokenizer.idToToken(tokens.mask) ?? "[MASK]").map(plain);
      const prompt = parts.flatMap((part, index) => (index > 0 ? [tokens.mask, ...part] : part));
      return answeredBlank(prompt, plain(texts.completion), tokens, tokenizer.eosTokenId);
    }
    const { inputIds, trained } = mark(example, where, chat);
    const marks = inputIds.map((_, position) => trained(position));
    const start = lastRun(marks);
    const answer = inputIds.slice(start, marks.lastIndexOf(true) + 1);
    if (answer.length === 0) return { inputIds, labels: inputIds.map(() => IGNORED_LABEL) };
    return answeredBlank(inputIds.slice(0, start), answer, tokens, tokenizer.eosTokenId);
  };

  return (example, where, images) => {
    const chat: Chat = (messages, place) => chatWith(messages, place, images);
    if (blanks && example.kind !== "text")
      return { ...answered(example, where, blanks, chat), where };
    const { inputIds, trained } = mark(example, where, chat);
    const labels = inputIds.map((id, position) => (trained(position) ? id : IGNORED_LABEL));
    return { inputIds, labels, where };
  };
}

/** Some tokenizers add the end token themselves; there is never a second one. */
function withEnd(ids: number[], end: number | undefined): number[] {
  return end === undefined || ids.at(-1) === end ? ids : [...ids, end];
}

function withoutEnd(ids: number[], end: number | undefined): number[] {
  return end !== undefined && ids.at(-1) === end ? ids.slice(0, -1) : ids;
}

/** Where the last unbroken run of true begins. */
function lastRun(mask: readonly boolean[]): number {
  let start = mask.lastIndexOf(true);
  while (start > 0 && mask[start - 1]) start--;
  return start;
}

const fillsBlanks = (loss: LossMode) =>
  new TunesmithError("config", {
    where: "data.loss",
    rule: "a model that fills blanks is trained on what fills them: the last answer, or blanks in texts",
    seen: loss,
    fix: "use loss: auto",
  });

function unsuited(loss: LossMode, kind: string, where: string): TunesmithError {
  const needs = loss === "assistant" ? "conversations" : "data with a prompt";
  return new TunesmithError("data", {
    where,
    rule: `loss: ${loss} needs ${needs}`,
    seen: kind,
    fix: "use loss: auto",
  });
}
