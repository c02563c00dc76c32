// A tokenizer with more tokens than its files have, as `add_tokens` and `add_special_tokens` of
// Transformers make it.

import { isJsonObject, type JsonObject } from "../json-file.ts";
import { createTokenizer, type TokenizerParts } from "./tokenizer.ts";

/** Which tokens a model is given. */
export interface AddedTokens {
  /** Texts that become one token each, wherever they stand. */
  readonly add?: readonly string[] | undefined;
  /** The same, as special tokens: left out of decoded text, and never made by what people write. */
  readonly special?: readonly string[] | undefined;
  /** The token that is put in place of no text; made special where it is new. */
  readonly padToken?: string | undefined;
  /** The token that ends a text. */
  readonly eosToken?: string | undefined;
  /** The token that begins one. */
  readonly bosToken?: string | undefined;
}

/** The keys of tokenizer_config.json, and of config.json, that name a token with a part to play. */
const PARTS = {
  padToken: { setting: "pad_token", id: "pad_token_id" },
  eosToken: { setting: "eos_token", id: "eos_token_id" },
  bosToken: { setting: "bos_token", id: "bos_token_id" },
} as const;

export interface EnlargedTokenizer {
  readonly parts: TokenizerParts;
  /** Ids of the tokens that were not there before. */
  readonly newIds: readonly number[];
  /** Ids by the keys of config.json, of the tokens with a part to play. */
  readonly roles: Readonly<Record<string, number>>;
  /** One more than the largest id. */
  readonly size: number;
}

/** What is asked for put behind the tokens that there are; one that is there keeps its id. */
export function enlargeTokenizer(parts: TokenizerParts, wanted: AddedTokens): EnlargedTokenizer {
  const before = createTokenizer(parts);
  const { add = [], special = [] } = wanted;
  const named = (Object.keys(PARTS) as (keyof typeof PARTS)[]).flatMap((part) => {
    const content = wanted[part];
    return content === undefined ? [] : [{ content, ...PARTS[part] }];
  });
  const isSpecial = new Set([...special, ...named.map(({ content }) => content)]);
  const contents = new Set([...add, ...isSpecial]);

  const entries = new Map(
    addedTokensOf(parts.definition).map((entry) => [String(entry.content), entry] as const),
  );
  const newIds: number[] = [];
  let size = before.vocabularySize;
  const idOf = new Map<string, number>();
  for (const content of contents) {
    const known = before.tokenToId(content);
    const id = known ?? size++;
    if (known === undefined) newIds.push(id);
    idOf.set(content, id);
    const entry = entries.get(content) ?? {
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: false,
    };
    entries.set(content, { ...entry, special: entry.special === true || isSpecial.has(content) });
  }
  const tokens = [...entries.values()].sort((a, b) => Number(a.id) - Number(b.id));
  const decoder = parts.settings.added_tokens_decoder;
  const settings = {
    ...parts.settings,
    ...Object.fromEntries(named.map(({ setting, content }) => [setting, content])),
    ...(isJsonObject(decoder) && {
      added_tokens_decoder: Object.fromEntries(
        tokens.map(({ id, ...token }) => [String(id), token]),
      ),
    }),
  };
  return {
    parts: { ...parts, definition: { ...parts.definition, added_tokens: tokens }, settings },
    newIds,
    roles: Object.fromEntries(named.map(({ id, content }) => [id, idOf.get(content)!])),
    size,
  };
}

function addedTokensOf({ added_tokens: tokens }: JsonObject): JsonObject[] {
  return Array.isArray(tokens) ? tokens.filter(isJsonObject) : [];
}
