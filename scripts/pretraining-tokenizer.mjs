/**
 * Trains the embedded model's tokenizer on the pretraining text and writes `tokenizer.json`: byte-level BPE that loads in
 * `@huggingface/tokenizers` and in Transformers.
 *
 *     node scripts/pretraining-tokenizer.mjs CORPUS.jsonl OUT_DIRECTORY [--size 2048]
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { byteCharacters, learnMerges } from "./pretraining/bpe.mjs";

/**
 * Where tokens may not cross. Unlike GPT-2's own pattern a space joins only a lowercase word that follows it, and a
 * digit stands alone: names and numbers then have the same tokens in a sentence as between the quotes of JSON, which
 * makes copying them easy for a small model.
 */
const pattern = String.raw` ?\p{Ll}+|\p{Lu}\p{Ll}*|\p{N}|[^\s\p{L}\p{N}]+|\p{L}|\s+`;
const specialTokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { size: { type: "string", default: "2048" } },
});
const [corpus, outDirectory] = positionals;
if (!outDirectory)
  throw new Error("usage: node scripts/pretraining-tokenizer.mjs CORPUS.jsonl OUT_DIRECTORY");

const bytes = byteCharacters();
const mergeCount = Number(flags.size) - specialTokens.length - bytes.length;
const merges = learnMerges(countWords(corpus), mergeCount);
const vocabulary = [...specialTokens, ...bytes, ...merges.map((pair) => pair.join(""))];

const tokenizer = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: specialTokens.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: null,
  pre_tokenizer: {
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
      { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
    ],
  },
  post_processor: null,
  decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  model: {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
    merges,
  },
};
writeFileSync(join(outDirectory, "tokenizer.json"), `${JSON.stringify(tokenizer)}\n`);
console.log(`${vocabulary.length} tokens`);

/** Counts the pieces between which no merge may happen, spelled in byte characters. */
function countWords(file) {
  const counts = new Map();
  const pieces = new RegExp(pattern, "gu");
  for (const line of readFileSync(file, "utf8").trimEnd().split("\n")) {
    for (const text of Object.values(JSON.parse(line)).flatMap(textsOf))
      for (const [piece] of text.matchAll(pieces)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  }
  return new Map([...counts].map(([piece, count]) => [inBytes(piece), count]));
}

/** The texts of a prompt or a completion, which is a text or a list of messages. */
function textsOf(part) {
  return typeof part === "string" ? [part] : part.map((message) => message.content);
}

function inBytes(text) {
  return [...Buffer.from(text)].map((byte) => bytes[byte]).join("");
}
