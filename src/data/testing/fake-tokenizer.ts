// A tokenizer small enough to follow by eye: a token a character, except that two digits in a row and
// the special tokens are one token each. Only for tests.

import type { ChatMessage, Tokenizer } from "../../hub/tokenizers/tokenizer-types.ts";

const SPECIAL = ["<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"];
const PAIRS = 1_000;
const CHARACTERS = 10_000;

export function fakeTokenizer(options: { bos?: boolean; chat?: boolean } = {}): Tokenizer {
  const { bos = true, chat = true } = options;
  const decodeOne = (id: number) =>
    id < SPECIAL.length
      ? SPECIAL[id]!
      : id < CHARACTERS
        ? String(id - PAIRS).padStart(2, "0")
        : String.fromCodePoint(id - CHARACTERS);

  const encodePlain = (text: string) =>
    (text.match(/\d\d|./gsu) ?? []).map((piece) =>
      /^\d\d$/.test(piece) ? PAIRS + Number(piece) : CHARACTERS + piece.codePointAt(0)!,
    );
  return {
    vocabularySize: 2_000_000,
    bosTokenId: 0,
    eosTokenId: 1,
    ...(chat && { chatTemplate: "the fake chat below" }),
    encode(text, { addSpecialTokens = true, parseSpecialTokens = true } = {}) {
      const parts = parseSpecialTokens ? text.split(/(<s>|<\/s>|<\|\w+\|>)/) : [text];
      const ids = parts.flatMap((part) =>
        parseSpecialTokens && SPECIAL.includes(part) ? [SPECIAL.indexOf(part)] : encodePlain(part),
      );
      return addSpecialTokens && bos ? [0, ...ids] : ids;
    },
    protect: (text) => text,
    decode: (ids) => ids.map(decodeOne).join(""),
    tokenToId: (token) => (SPECIAL.includes(token) ? SPECIAL.indexOf(token) : undefined),
    idToToken: (id) => decodeOne(id),
  };
}

/** <|role|>content<|end|> for each turn; the mask covers an assistant's content and end. */
export function fakeChat(tokenizer: Tokenizer, messages: readonly ChatMessage[]) {
  const inputIds: number[] = [];
  const assistantMask: boolean[] = [];
  for (const { role, content } of messages) {
    const body = tokenizer.encode(content, { addSpecialTokens: false, parseSpecialTokens: false });
    inputIds.push(tokenizer.tokenToId(`<|${role}|>`)!, ...body, tokenizer.tokenToId("<|end|>")!);
    assistantMask.push(false, ...body.map(() => role === "assistant"), role === "assistant");
  }
  return { inputIds, assistantMask };
}
