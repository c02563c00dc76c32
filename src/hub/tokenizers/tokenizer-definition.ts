// A `tokenizer.json` as the JavaScript library must be given it: with protection marks taken out in
// time, and spelt so that it splits words exactly as the Rust library behind the Python tools does.

import { isJsonObject, type JsonObject } from "../json-file.ts";
import { PROTECTION_MARK } from "../protect.ts";

/** How GPT-2's vocabulary splits words; the Rust library's own pattern for `ByteLevel`. */
export const GPT2_WORDS =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** A pre-tokenizer that cuts out every match of a pattern. */
export function splitBy(pattern: string): JsonObject {
  return { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
}

/**
 * The definition with a step in front of the pre-tokenizer that takes protection marks out. Not sooner:
 * the library looks for added tokens before normalisation and after it, and the marks must last.
 */
export function adaptDefinition(definition: JsonObject): JsonObject {
  const unmark = { type: "Replace", pattern: { String: PROTECTION_MARK }, content: "" };
  const own = adaptPreTokenizer(definition.pre_tokenizer ?? null);
  return {
    normalizer: null,
    post_processor: null,
    decoder: null,
    added_tokens: [],
    ...definition,
    pre_tokenizer: own === null ? unmark : { type: "Sequence", pretokenizers: [unmark, own] },
  };
}

/**
 * Two pre-tokenizers of the library follow JavaScript's idea of a digit and of white space: `Digits`
 * leaves out "½" and "Ⅷ", `ByteLevel` takes U+FEFF for a space and U+0085 for none. Its `Split` does
 * it as Rust does, so they are written as splits.
 */
export function adaptPreTokenizer(value: unknown): unknown {
  if (!isJsonObject(value)) return value;
  if (value.type === "Sequence" && Array.isArray(value.pretokenizers))
    return { ...value, pretokenizers: value.pretokenizers.map(adaptPreTokenizer) };
  if (value.type === "Digits") return splitBy(value.individual_digits ? "\\p{N}" : "\\p{N}+");
  const splits = value.type === "ByteLevel" && (value.use_regex ?? true) === true;
  // With a space to put in front, the pattern must see that space first: the library's own order.
  if (!splits || (value.add_prefix_space ?? true) === true) return value;
  return { type: "Sequence", pretokenizers: [splitBy(GPT2_WORDS), { ...value, use_regex: false }] };
}
