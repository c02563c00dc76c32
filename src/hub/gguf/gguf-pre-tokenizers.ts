// How byte-level tokenizers cut a text into words, by the names that llama.cpp gave to the ways it met.

import { isJsonObject, type JsonObject } from "../json-file.ts";
import { adaptPreTokenizer, GPT2_WORDS, splitBy } from "../tokenizers/tokenizer-definition.ts";

/** The words that byte-level vocabularies are built within; contractions in any case where `(?i:`. */
const CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const CONTRACTIONS_IN_FILES = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const wordsWithDigits = (digits: string) =>
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|` +
  "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const LOWER = "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}";
const UPPER = "\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}";
const O200K_WORDS =
  `[^\\r\\n\\p{L}\\p{N}]?[${UPPER}]*[${LOWER}]+${CONTRACTIONS}?|` +
  `[^\\r\\n\\p{L}\\p{N}]?[${UPPER}]+[${LOWER}]*${CONTRACTIONS}?|` +
  "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const byteLevel = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
const gpt2Words = [splitBy(GPT2_WORDS), byteLevel];
const gpt2WordsSingleDigits = [splitBy("\\p{N}"), ...gpt2Words];
const llama3Words = [splitBy(wordsWithDigits("\\p{N}{1,3}")), byteLevel];
const qwen2Words = [splitBy(wordsWithDigits("\\p{N}")), byteLevel];
const falconWords = [
  { type: "Punctuation", behavior: "Contiguous" },
  ...gpt2Words,
  splitBy("\\p{N}+"),
  splitBy("[0-9][0-9][0-9]"),
];

/** By `tokenizer.ggml.pre`; of names for the same way the first is the one that is written. */
export const PRE_TOKENIZERS: Readonly<Record<string, readonly JsonObject[]>> = {
  "gpt-2": gpt2Words,
  default: gpt2Words,
  mpt: gpt2Words,
  olmo: gpt2Words,
  jais: gpt2Words,
  "phi-2": gpt2Words,
  smollm: gpt2WordsSingleDigits,
  starcoder: gpt2WordsSingleDigits,
  refact: gpt2WordsSingleDigits,
  "command-r": gpt2WordsSingleDigits,
  codeshell: gpt2WordsSingleDigits,
  "llama-bpe": llama3Words,
  llama3: llama3Words,
  "llama-v3": llama3Words,
  dbrx: llama3Words,
  "smaug-bpe": llama3Words,
  "chatglm-bpe": llama3Words,
  glm4: llama3Words,
  "gpt-4o": [splitBy(O200K_WORDS), byteLevel],
  qwen2: qwen2Words,
  "deepseek-r1-qwen": qwen2Words,
  stablelm2: qwen2Words,
  falcon: falconWords,
};

const IGNORING_MERGES = ["llama-bpe", "llama3", "llama-v3"];

/** Whether a word that is a token is taken as it is, as in Llama 3, whether or not merges lead there. */
export const ignoresMerges = (name: string): boolean => IGNORING_MERGES.includes(name);

/**
 * llama.cpp's name for `pre_tokenizer` of a tokenizer.json; undefined where it is none of these.
 * @param ignoring `ignore_merges` of its model
 */
export function preTokenizerName(preTokenizer: unknown, ignoring = false): string | undefined {
  const steps = JSON.stringify(plainSteps(adaptPreTokenizer(preTokenizer)));
  return Object.keys(PRE_TOKENIZERS).find(
    (name) =>
      ignoresMerges(name) === ignoring &&
      JSON.stringify(PRE_TOKENIZERS[name]!.flatMap(plainSteps)) === steps,
  );
}

/** Steps without nesting, and without what does not change how words are cut. */
function plainSteps(step: unknown): unknown[] {
  if (!isJsonObject(step)) return [];
  if (step.type === "Sequence" && Array.isArray(step.pretokenizers))
    return step.pretokenizers.flatMap(plainSteps);
  if (step.type === "ByteLevel")
    return [[step.type, step.add_prefix_space ?? true, step.use_regex ?? true]];
  if (step.type !== "Split") return [step];
  const { pattern, behavior, invert = false } = step;
  const regex = isJsonObject(pattern) && typeof pattern.Regex === "string" ? pattern.Regex : null;
  return [[step.type, regex?.replaceAll(CONTRACTIONS_IN_FILES, CONTRACTIONS), behavior, invert]];
}
