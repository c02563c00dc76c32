// The tokenizer of a Hugging Face folder, run by @huggingface/tokenizers, with one thing added: text
// that people wrote can be protected, so that "<|im_end|>" in it stays ten characters and never
// becomes the token that ends a turn.

import { join } from "node:path";
import * as tokenizers from "@huggingface/tokenizers";
import { TunesmithError } from "../../errors.ts";
import {
  isJsonObject,
  type JsonObject,
  parseJsonObject,
  readJsonObject,
  readTextIfPresent,
} from "../json-file.ts";
import { createProtection } from "../protect.ts";
import { createTokenBytes } from "./token-bytes.ts";
import { adaptDefinition } from "./tokenizer-definition.ts";
import type { Tokenizer } from "./tokenizer-types.ts";

/** What is used of the library's tokenizer; its own declarations do not resolve under Node's rules. */
interface LibraryTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  decode(
    ids: readonly number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  get_vocab(): ReadonlyMap<string, number>;
  get_added_tokens_decoder(): ReadonlyMap<
    number,
    { readonly id: number; readonly content: string; readonly special: boolean }
  >;
}

const Library = tokenizers.Tokenizer as new (
  definition: JsonObject,
  settings: JsonObject,
) => LibraryTokenizer;

/** What a tokenizer is made of, as the files say it. */
export interface TokenizerParts {
  /** For errors: the folder or file that the parts come from. */
  readonly source: string;
  /** `tokenizer.json`. */
  readonly definition: JsonObject;
  /** `tokenizer_config.json` and `special_tokens_map.json`: which token is bos, eos, pad. */
  readonly settings: JsonObject;
  readonly chatTemplate?: string | undefined;
}

/** Reads the tokenizer of a model folder. Throws a TunesmithError ("checkpoint") where there is none. */
export async function loadTokenizerFolder(folder: string): Promise<Tokenizer> {
  return createTokenizer(await readTokenizerFolder(folder));
}

/** The tokenizer's files of a model folder, read. Throws as above. */
export async function readTokenizerFolder(folder: string): Promise<TokenizerParts> {
  const path = join(folder, "tokenizer.json");
  const text = await readTextIfPresent(path);
  if (text === undefined)
    throw new TunesmithError("checkpoint", {
      where: folder,
      rule: "a model folder holds tokenizer.json",
      seen: "no such file",
      fix:
        "fetch it with the model; where only tokenizer.model exists, convert it in Python: " +
        "AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)",
    });
  // Not spelled: it is long, and is copied as a file.
  const definition = parseJsonObject(text, path);
  const settings = (await readJsonObject(join(folder, "tokenizer_config.json"))) ?? {};
  const specialTokens = (await readJsonObject(join(folder, "special_tokens_map.json"))) ?? {};
  return {
    source: folder,
    definition,
    settings: { ...specialTokens, ...settings },
    chatTemplate:
      (await readTextIfPresent(join(folder, "chat_template.jinja"))) ??
      templateFrom(settings.chat_template),
  };
}

/** Makes a tokenizer from its parts. Throws a TunesmithError ("checkpoint") for a broken definition. */
export function createTokenizer(parts: TokenizerParts): Tokenizer {
  const { source, settings } = parts;
  const definition = adaptDefinition(parts.definition);
  const library = build(source, definition, settings);
  const added = library.get_added_tokens_decoder();
  const special = [...added.values()].filter((token) => token.special);
  const protect = createProtection(special.map((token) => token.content));
  const specialIds = new Set(special.map((token) => token.id));

  const idOf = (name: string) => {
    const token = settings[name];
    const content = isJsonObject(token) ? token.content : token;
    return typeof content === "string" ? library.token_to_id(content) : undefined;
  };
  const bosTokenId = idOf("bos_token");
  const eosTokenId = idOf("eos_token");
  const padTokenId = idOf("pad_token");
  const unknownTokenId = idOf("unk_token");
  const vocabulary = library.get_vocab();
  let vocabularySize = 0;
  for (const id of vocabulary.values()) vocabularySize = Math.max(vocabularySize, id + 1);

  const tokenBytes = createTokenBytes(definition, { name: (id) => library.id_to_token(id), added });

  const ids = (text: string, addSpecialTokens: boolean) =>
    // Characters outside the vocabulary have no id where the model names no unknown token.
    library
      .encode(text, { add_special_tokens: addSpecialTokens })
      .ids.filter((id) => typeof id === "number");

  return {
    vocabularySize,
    ...(bosTokenId !== undefined && { bosTokenId }),
    ...(eosTokenId !== undefined && { eosTokenId }),
    ...(padTokenId !== undefined && { padTokenId }),
    ...(parts.chatTemplate !== undefined && { chatTemplate: parts.chatTemplate }),
    protect,
    encode(text, { addSpecialTokens = true, parseSpecialTokens = true } = {}) {
      if (parseSpecialTokens) return ids(text, addSpecialTokens);
      const plain = ids(protect(text), false);
      const forged = plain.find((id) => specialIds.has(id) && id !== unknownTokenId);
      if (forged !== undefined)
        throw new TunesmithError("data", {
          where: source,
          rule: "plain text makes no special token",
          seen: `the token "${library.id_to_token(forged)}" in a text`,
          fix: "take that string out of the text",
        });
      return addSpecialTokens ? ids(protect(text), true) : plain;
    },
    decode(tokenIds, { skipSpecialTokens = false } = {}) {
      const known = tokenIds.filter((id) => library.id_to_token(id) !== undefined);
      if (known.length === 0) return "";
      return library.decode(known, {
        skip_special_tokens: skipSpecialTokens,
        // Taking spaces out before punctuation is for showing BERT's output; it loses text.
        clean_up_tokenization_spaces: false,
      });
    },
    ...(tokenBytes !== undefined && { tokenBytes }),
    tokenToId: (token) => library.token_to_id(token),
    idToToken: (id) => library.id_to_token(id),
  };
}

/** The default template of `chat_template`, a text or a list of named ones. */
function templateFrom(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const entry: unknown = value.find((item) => isJsonObject(item) && item.name === "default");
  return isJsonObject(entry) && typeof entry.template === "string" ? entry.template : undefined;
}

function build(source: string, definition: JsonObject, settings: JsonObject): LibraryTokenizer {
  try {
    return new Library(definition, settings);
  } catch (error) {
    throw new TunesmithError(
      "checkpoint",
      {
        where: `${source} (tokenizer)`,
        rule: "tokenizer.json describes a tokenizer that the tokenizers library knows",
        seen: (error as Error).message.slice(0, 200),
        fix: "fetch tokenizer.json again",
      },
      { cause: error },
    );
  }
}
