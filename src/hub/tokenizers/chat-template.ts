// Conversations as the model reads them: the checkpoint's Jinja template rendered as Transformers does,
// encoded so that nothing in a message can forge a turn, with a mask of the assistant's own tokens.

import { Template } from "@huggingface/jinja";
import { type ErrorCode, TunesmithError } from "../../errors.ts";
import { isJsonObject } from "../json-file.ts";
import { commonPrefix } from "./common-prefix.ts";
import type { ChatMessage, Tokenizer } from "./tokenizer-types.ts";

export interface RenderOptions {
  /** Ends with the header of an assistant turn, for the model to go on from. Default false. */
  readonly addGenerationPrompt?: boolean;
  /**
   * Of a model that looks at images, what stands for those of the conversation, in their order; none where
   * it has none. Such a model's template is given every message in parts.
   */
  readonly images?: ImagePrompts;
}

/** What a template writes for an image, and what becomes of it for each. */
export interface ImagePrompts {
  readonly placeholder: string;
  readonly prompts: readonly string[];
}

export interface EncodeChatOptions extends RenderOptions {
  /** The roles whose turns the mask marks. Default: assistant. */
  readonly maskRoles?: readonly string[];
}

export interface EncodedChat {
  readonly inputIds: number[];
  /** True for the tokens of assistant turns: what follows the turn's header, its end token included. */
  readonly assistantMask: boolean[];
}

/** Of conversations without images, with a model that could look at some. */
export const NO_IMAGES: ImagePrompts = { placeholder: "<image>", prompts: [] };

// Pairs of code points that Unicode reserves for internal use; they mark where `{% generation %}`
// begins and ends.
const GENERATION_START = "\uFDD1\uFDEF";
const GENERATION_END = "\uFDD2\uFDEF";
const GENERATION_MARKS = /\uFDD1\uFDEF|\uFDD2\uFDEF/;

/** The conversation as text. Throws a TunesmithError where there is no template or it refuses. */
export function renderChat(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  options: RenderOptions = {},
): string {
  return render(tokenizer, messages, options).split(GENERATION_MARKS).join("");
}

/**
 * The conversation as token ids. Special-token strings inside messages stay text. Assistant turns are
 * what the template puts between `{% generation %}` and `{% endgeneration %}`, or, where it has no
 * such tags, what a turn adds to the rendering of the conversation before it.
 *
 *     const { inputIds, assistantMask } = encodeChat(tokenizer, [
 *       { role: "user", content: "Hello" },
 *       { role: "assistant", content: "Good day." },
 *     ]);
 */
export function encodeChat(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  options: EncodeChatOptions = {},
): EncodedChat {
  const safe = messages.map((message) => protectStrings(message, tokenizer) as ChatMessage);
  const marked = render(tokenizer, safe, options);
  const pieces = marked.split(GENERATION_MARKS);
  const text = pieces.join("");
  const encode = (part: string) => tokenizer.encode(part, { addSpecialTokens: false });
  const inputIds = encode(text);
  const spans = pieces.length > 1 ? taggedSpans(pieces) : turnSpans(tokenizer, safe, text, options);

  const tokenSpans =
    cutTokens(text, spans, inputIds, encode) ?? compareTokens(text, spans, inputIds, encode);
  const assistantMask = inputIds.map(() => false);
  for (const [start, end] of tokenSpans) assistantMask.fill(true, start, end);
  return { inputIds, assistantMask };
}

type Span = readonly [start: number, end: number];
type Encode = (text: string) => number[];

/**
 * The tokens of each span, by encoding the text cut up at its ends. Undefined where the parts give
 * other tokens than the whole, because some token reaches across a cut.
 */
function cutTokens(
  text: string,
  spans: readonly Span[],
  inputIds: readonly number[],
  encode: Encode,
): Span[] | undefined {
  const parts: number[] = [];
  let position = 0;
  const encodeUpTo = (end: number) => {
    if (end > position) for (const id of encode(text.slice(position, end))) parts.push(id);
    position = end;
    return parts.length;
  };
  const tokenSpans = spans.map(([start, end]): Span => [encodeUpTo(start), encodeUpTo(end)]);
  encodeUpTo(text.length);
  const isWhole =
    parts.length === inputIds.length && commonPrefix(parts, inputIds) === parts.length;
  return isWhole ? tokenSpans : undefined;
}

/** The same by rule: before a character come the tokens that the text up to it shares with the whole. */
function compareTokens(
  text: string,
  spans: readonly Span[],
  inputIds: readonly number[],
  encode: Encode,
): Span[] {
  const tokensBefore = (position: number) =>
    position === text.length
      ? inputIds.length
      : commonPrefix(encode(text.slice(0, position)), inputIds);
  return spans.map(([start, end]) => [tokensBefore(start), tokensBefore(end)]);
}

/** Every second piece was between generation tags. */
function taggedSpans(pieces: readonly string[]): Span[] {
  const spans: Span[] = [];
  let position = 0;
  for (const [index, piece] of pieces.entries()) {
    if (index % 2 === 1) spans.push([position, position + piece.length]);
    position += piece.length;
  }
  return spans;
}

function turnSpans(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  text: string,
  { maskRoles: roles = ["assistant"], images }: EncodeChatOptions,
): Span[] {
  const spans: Span[] = [];
  for (const [index, message] of messages.entries()) {
    if (!roles.includes(message.role)) continue;
    const isAssistant = message.role === "assistant";
    const before = prefixLength(tokenizer, messages.slice(0, index), text, isAssistant, images);
    const end = prefixLength(tokenizer, messages.slice(0, index + 1), text, false, images);
    // A template may refuse an empty conversation or one that begins otherwise: the turn's content
    // then shows where its header ends.
    const start = before ?? text.indexOf(message.content.trim(), spans.at(-1)?.[1] ?? 0);
    if (end === undefined || start < 0 || start > end)
      throw new TunesmithError("data", {
        where: `chat template, message ${index + 1} (${message.role})`,
        rule: "a turn must render the same whether or not other turns follow it",
        seen: "a template that rewrites earlier turns, so that the trained tokens cannot be told",
        fix: "use a chat template with {% generation %} … {% endgeneration %} around assistant turns",
      });
    spans.push([start, end]);
  }
  return spans;
}

/** How long the rendering of some of the messages is, where the whole begins with it. */
function prefixLength(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  text: string,
  addGenerationPrompt: boolean,
  images: ImagePrompts | undefined,
): number | undefined {
  let part: string;
  try {
    part = render(tokenizer, messages, { addGenerationPrompt, images });
  } catch {
    return undefined;
  }
  return text.startsWith(part) ? part.length : undefined;
}

function protectStrings(value: unknown, tokenizer: Tokenizer): unknown {
  if (typeof value === "string") return tokenizer.protect(value.split(GENERATION_MARKS).join(""));
  if (Array.isArray(value)) return value.map((item) => protectStrings(item, tokenizer));
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, protectStrings(item, tokenizer)]),
  );
}

const parsedTemplates = new WeakMap<Tokenizer, Template>();

function render(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  { addGenerationPrompt = false, images }: RenderOptions,
): string {
  const token = (id: number | undefined) =>
    (id === undefined ? undefined : tokenizer.idToToken(id)) ?? "";
  const template = parsedTemplates.get(tokenizer) ?? parse(tokenizer);
  const rendered = orFault(
    () =>
      template.render({
        messages: images ? messages.map(inParts) : messages,
        add_generation_prompt: addGenerationPrompt,
        tools: null,
        documents: null,
        bos_token: token(tokenizer.bosTokenId),
        eos_token: token(tokenizer.eosTokenId),
        pad_token: token(tokenizer.padTokenId),
      }),
    "data",
    "the model's chat template must accept the conversation",
    "check the order and the names of the roles against what the model was trained on",
  );
  return images ? withImages(rendered, images) : rendered;
}

/** A message as the templates of models that look at images want it. */
const inParts = ({ role, content, parts = [{ type: "text", text: content }] }: ChatMessage) => ({
  role,
  content: parts.map((part) => (part.type === "image" ? { type: "image" } : part)),
});

/** Each placeholder's own text in its place; a conversation cut short has fewer of them. */
function withImages(text: string, { placeholder, prompts }: ImagePrompts): string {
  const [first = "", ...rest] = text.split(placeholder);
  if (rest.length > prompts.length)
    throw new TunesmithError("data", {
      where: "chat template",
      rule: "every image of a conversation is written once",
      seen: `${rest.length} times ${placeholder} for ${prompts.length} images`,
      fix: "use the chat template that belongs to the model",
    });
  return rest.reduce((whole, piece, index) => whole + prompts[index]! + piece, first);
}

/** What `work` returns; what the template library throws becomes a fault. */
function orFault<Result>(work: () => Result, code: ErrorCode, rule: string, fix: string): Result {
  try {
    return work();
  } catch (error) {
    const seen = (error as Error).message.slice(0, 200);
    throw new TunesmithError(code, { where: "chat template", rule, seen, fix }, { cause: error });
  }
}

function parse(tokenizer: Tokenizer): Template {
  const source = tokenizer.chatTemplate;
  if (source === undefined)
    throw new TunesmithError("checkpoint", {
      where: "chat template",
      rule: "conversations need a model with a chat template",
      seen: "a tokenizer without one",
      fix: "use an instruct model, put a chat_template.jinja into the model's folder, or train on text",
    });
  const template = orFault(
    () => new Template(replaceGenerationTags(source)),
    "checkpoint",
    "the chat template is a Jinja template",
    "fetch the model's chat template again",
  );
  parsedTemplates.set(tokenizer, template);
  return template;
}

/**
 * `{% generation %}` is an extension of Transformers' own: it becomes an expression that prints a mark.
 * A tag takes the newline after it and the indentation before it along; an expression does not, so
 * they go here.
 */
function replaceGenerationTags(source: string): string {
  return source.replace(
    /(^[ \t]*)?\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}(\n?)/gm,
    (_, indent, before, end, after, newline) => {
      const left = before === "-" ? "-" : "";
      const right = after === "-" ? "-" : "";
      const mark = end ? GENERATION_END : GENERATION_START;
      const kept = before === "+" ? (indent ?? "") : "";
      return `${kept}{{${left} "${mark}" ${right}}}${after === "+" ? newline : ""}`;
    },
  );
}
