// How a model's tokenizer writes texts, seen in a short conversation: what marks their ends, and the chat
// template, or why there is none.

import { TunesmithError } from "../errors.ts";
import { type Checkpoint, NO_IMAGES, renderChat, type Tokenizer } from "../hub/index.ts";

export interface TextFacts {
  /** By role, such as `eos`: the token with its id. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** A conversation in the model's chat template, or why there is none. */
  readonly chat: string | { readonly missing: string };
}

const SAMPLE_CHAT = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "Hello!" },
  { role: "assistant", content: "Good day." },
] as const;
/** A folder of weights alone can be looked at too: what is amiss with the rest is told in its place. */
export async function textFacts(
  checkpoint: Checkpoint,
  looksAtImages: boolean,
): Promise<TextFacts> {
  try {
    const tokenizer = await checkpoint.loadTokenizer();
    return {
      specialTokens: specialTokensOf(tokenizer),
      chat: sampleChat(tokenizer, looksAtImages),
    };
  } catch (error) {
    return { specialTokens: {}, chat: whyMissing(error) };
  }
}

function specialTokensOf(tokenizer: Tokenizer): Record<string, string> {
  const ids = { bos: tokenizer.bosTokenId, eos: tokenizer.eosTokenId, pad: tokenizer.padTokenId };
  return Object.fromEntries(
    Object.entries(ids).flatMap(([name, id]) =>
      id === undefined ? [] : [[name, `${tokenizer.idToToken(id) ?? "?"} (${id})`]],
    ),
  );
}

/** Templates that refuse a system message are asked without one. */
function sampleChat(tokenizer: Tokenizer, looksAtImages: boolean): TextFacts["chat"] {
  if (tokenizer.chatTemplate === undefined)
    return { missing: "none: prompts are continued as they are" };
  let refused: unknown;
  for (const messages of [SAMPLE_CHAT, SAMPLE_CHAT.slice(1)])
    try {
      return renderChat(tokenizer, messages, looksAtImages ? { images: NO_IMAGES } : {});
    } catch (error) {
      refused ??= error;
    }
  return whyMissing(refused);
}

/** @throws what is no fault of the model's files */
function whyMissing(error: unknown): { missing: string } {
  if (!(error instanceof TunesmithError)) throw error;
  return { missing: error.faults.map(({ rule, seen }) => `none: ${rule}; saw ${seen}`).join("\n") };
}
