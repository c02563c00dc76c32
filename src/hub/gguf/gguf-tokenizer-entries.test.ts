// Tokenizers that go into a GGUF and come out again, and those that do not fit in.

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { isJsonObject, type JsonObject } from "../json-file.ts";
import { casePath, readCase } from "../testing/cases.ts";
import { expectFault, temporaryFolder } from "../testing/files.ts";
import {
  createTokenizer,
  readTokenizerFolder,
  type TokenizerParts,
} from "../tokenizers/tokenizer.ts";
import { GPT2_WORDS, splitBy } from "../tokenizers/tokenizer-definition.ts";
import { openGguf } from "./gguf.ts";
import { preTokenizerName } from "./gguf-pre-tokenizers.ts";
import { loadTokenizerGguf, tokenizerPartsGguf } from "./gguf-tokenizer.ts";
import { tokenizerEntries } from "./gguf-tokenizer-entries.ts";
import { writeGguf } from "./gguf-writer.ts";

const { texts } = readCase<{ texts: { text: string }[] }>("tokenizer/byte-level/cases.json");
const byteLevel = await readTokenizerFolder(casePath("tokenizer/byte-level"));
const about = { rows: 610, ends: [] as number[] };

/** The tokenizer's parts after a way through a file. */
async function written(parts: TokenizerParts, options: Partial<typeof about> = {}) {
  const path = join(temporaryFolder(), "x.gguf");
  await writeGguf(path, {
    metadata: tokenizerEntries(parts, { ...about, ...options }),
    tensors: [],
  });
  const file = await openGguf(path);
  await file.close();
  return file;
}

const changed = (change: JsonObject): TokenizerParts => ({
  ...byteLevel,
  definition: { ...byteLevel.definition, ...change },
});

const sentencePiece = readCase<{
  tokens: string[];
  scores: number[];
  types: number[];
  texts: { text: string; ids: number[] }[];
}>("tokenizer/sentencepiece/cases.json");
/** As tokenizer.json has it: merges instead of scores. */
const withMerges = tokenizerPartsGguf({
  path: "test.gguf",
  metadata: new Map<string, string | number | readonly string[] | Float32Array | Int32Array>([
    ["tokenizer.ggml.model", "llama"],
    ["tokenizer.ggml.tokens", sentencePiece.tokens],
    ["tokenizer.ggml.scores", Float32Array.from(sentencePiece.scores)],
    ["tokenizer.ggml.token_type", Int32Array.from(sentencePiece.types)],
    ["tokenizer.ggml.unknown_token_id", 0],
    ["tokenizer.ggml.bos_token_id", 1],
    ["tokenizer.ggml.eos_token_id", 2],
  ]),
});

describe("what is written reads the same", () => {
  it("of a byte-level tokenizer, with its template and special tokens", async () => {
    const file = await written(byteLevel, { ends: [2, 1] });
    const [own, back] = [createTokenizer(byteLevel), loadTokenizerGguf(file)];
    expect(texts.length).toBeGreaterThan(20);
    for (const { text } of texts) expect(back.encode(text), text).toEqual(own.encode(text));
    for (const name of ["bosTokenId", "eosTokenId", "padTokenId", "chatTemplate"] as const)
      expect(back[name], name).toBe(own[name]);
    const eos = file.metadata.get("tokenizer.ggml.eos_token_id");
    expect(file.metadata.get("tokenizer.ggml.eot_token_id")).toBe(eos === 2 ? 1 : 2);
    // Rows of the embedding beyond the vocabulary have a token that nothing makes.
    expect(back.vocabularySize).toBe(610);
    expect((file.metadata.get("tokenizer.ggml.tokens") as string[]).at(-1)).toBe("[PAD609]");
    expect((file.metadata.get("tokenizer.ggml.token_type") as Int32Array).at(-1)).toBe(5);
  });

  it("of a SentencePiece tokenizer, whose scores are made of its merges", async () => {
    const rows = sentencePiece.tokens.length;
    const file = await written(withMerges, { rows });
    const back = loadTokenizerGguf(file);
    const plain = { addSpecialTokens: false, parseSpecialTokens: false };
    for (const { text, ids } of sentencePiece.texts)
      expect(back.encode(text, plain), text).toEqual(ids);
    expect(back.encode("a")[0]).toBe(1);
    expect(file.metadata.get("tokenizer.ggml.token_type")).toEqual(
      Int32Array.from(sentencePiece.types),
    );
  });
});

it("names the ways of cutting words as llama.cpp does", () => {
  const split = (regex: string) => ({
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false },
      { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false },
    ],
  });
  const words = (digits: string) =>
    `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const digits = { type: "Digits", individual_digits: true };
  expect(preTokenizerName(split(words("\\p{N}{1,3}")), true)).toBe("llama-bpe");
  // OLMo 2's: Llama 3's words, with merges.
  expect(preTokenizerName(split(words("\\p{N}{1,3}")))).toBe("dbrx");
  expect(preTokenizerName(split(words("\\p{N}")))).toBe("qwen2");
  expect(preTokenizerName(bytes)).toBe("gpt-2");
  expect(preTokenizerName(split(GPT2_WORDS))).toBe("gpt-2");
  expect(preTokenizerName({ type: "Sequence", pretokenizers: [digits, bytes] })).toBe("smollm");
  const falcon = [
    { type: "Punctuation", behavior: "Contiguous" },
    bytes,
    { type: "Digits", individual_digits: false },
    splitBy("[0-9][0-9][0-9]"),
  ];
  expect(preTokenizerName({ type: "Sequence", pretokenizers: falcon })).toBe("falcon");
  const contracted = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?";
  const [upper, lower] = ["\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}", "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"];
  const o200k = `[^\\r\\n\\p{L}\\p{N}]?[${upper}]*[${lower}]+${contracted}|[^\\r\\n\\p{L}\\p{N}]?[${upper}]+[${lower}]*${contracted}|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;
  expect(preTokenizerName(split(o200k))).toBe("gpt-4o");
  expect(preTokenizerName({ ...bytes, add_prefix_space: true })).toBeUndefined();
  expect(preTokenizerName(split(words("\\p{N}{1,2}")))).toBeUndefined();
  expect(preTokenizerName(null)).toBeUndefined();
});

describe("what a GGUF has no words for is refused", () => {
  const model = (change: JsonObject, { definition } = byteLevel) => ({
    model: { ...(isJsonObject(definition.model) ? definition.model : {}), ...change },
  });
  const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const around = (...single: JsonObject[]) => ({
    post_processor: { type: "TemplateProcessing", single, special_tokens: {} },
  });
  const A = { Sequence: { id: "A", type_id: 0 } };
  it.each<[string, TokenizerParts, RegExp]>([
    [
      "a Unigram",
      changed(model({ type: "Unigram" })),
      /byte-level or SentencePiece BPE[\s\S]*Unigram/,
    ],
    [
      "a BPE without bytes",
      changed({ pre_tokenizer: { type: "Whitespace" } }),
      /falls back to bytes/,
    ],
    [
      "other words",
      changed({
        pre_tokenizer: { type: "Sequence", pretokenizers: [splitBy("\\d"), { type: "ByteLevel" }] },
      }),
      /has a name for/,
    ],
    ["a normaliser", changed({ normalizer: { type: "Lowercase" } }), /takes a text as it is/],
    ["words without merges", changed(model({ ignore_merges: true })), /follows merges/],
    ["a token behind the text", changed(around(A, special("<x>"))), /bos in front/],
    ["two tokens in front", changed(around(special("<x>"), special("<x>"), A)), /once each/],
    [
      "another post-processor",
      changed({ post_processor: { type: "BertProcessing" } }),
      /a template/,
    ],
    [
      "merges that are not those of scores",
      {
        ...withMerges,
        definition: { ...withMerges.definition, ...model({ merges: [] }, withMerges) },
      },
      /merges any two tokens/,
    ],
  ])("%s", async (_, parts, message) => {
    const rows = parts.source === withMerges.source ? sentencePiece.tokens.length : 610;
    await expectFault((async () => tokenizerEntries(parts, { ...about, rows }))(), message);
  });

  it("more tokens than the embedding has rows", async () => {
    const work = async () => tokenizerEntries(byteLevel, { ...about, rows: 50 });
    await expectFault(work(), /a row for every token/);
  });
});
