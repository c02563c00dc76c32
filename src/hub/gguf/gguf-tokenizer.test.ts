import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readCase } from "../testing/cases.ts";
import { expectFault, temporaryFolder } from "../testing/files.ts";
import { loadTokenizerFolder } from "../tokenizers/tokenizer.ts";
import { writeTokenizerFiles } from "./gguf-side-files.ts";
import { generationConfigGguf, loadTokenizerGguf, tokenizerPartsGguf } from "./gguf-tokenizer.ts";
import type { GgufValue } from "./gguf-values.ts";

interface Definition {
  readonly added_tokens: { id: number; content: string; special: boolean }[];
  readonly model: { vocab: Record<string, number>; merges: [string, string][] };
}
interface ByteLevelCases {
  readonly texts: { readonly text: string }[];
  readonly idsByPreTokenizer: Record<string, number[][]>;
}
const definition = readCase<Definition>("tokenizer/byte-level/tokenizer.json");
const byteLevel = readCase<ByteLevelCases>("tokenizer/byte-level/cases.json");

const header = (entries: Record<string, GgufValue | undefined>) => ({
  path: "test.gguf",
  metadata: new Map(
    Object.entries(entries).filter((entry): entry is [string, GgufValue] => entry[1] !== undefined),
  ),
});
const load = (entries: Record<string, GgufValue | undefined>) => loadTokenizerGguf(header(entries));

/** The stored tokenizer.json as llama.cpp's converter would put it into a GGUF. */
function byteLevelMetadata(pre: string | undefined): Record<string, GgufValue | undefined> {
  const tokens: string[] = [];
  for (const [token, id] of Object.entries(definition.model.vocab)) tokens[id] = token;
  const types = new Int32Array(602).fill(1);
  for (const { id, content, special } of definition.added_tokens) {
    tokens[id] = content;
    types[id] = special ? 3 : 4;
  }
  return {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": pre,
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": types,
    "tokenizer.ggml.merges": definition.model.merges.map((pair) => pair.join(" ")),
    "tokenizer.ggml.bos_token_id": 0,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.padding_token_id": 3,
    "tokenizer.ggml.add_bos_token": false,
  };
}

describe("byte-level BPE", () => {
  const kinds = Object.entries(byteLevel.idsByPreTokenizer);
  it.each(kinds)("splits words as %s does", (kind, expected) => {
    const tokenizer = load(byteLevelMetadata(kind));
    expect(tokenizer.vocabularySize).toBe(602);
    for (const [index, { text }] of byteLevel.texts.entries())
      expect(tokenizer.encode(text), text).toEqual(expected[index]);
  });

  it("takes GPT-2's words where the file names none", () => {
    const text = "a  12";
    const ids = load(byteLevelMetadata("gpt-2")).encode(text);
    expect(load(byteLevelMetadata(undefined)).encode(text)).toEqual(ids);
    expect(load(byteLevelMetadata("smollm")).encode(text)).not.toEqual(ids);
  });

  it("adds bos where the file says so, and for Llama 3 where it says nothing", () => {
    const added = (pre: string, stated?: boolean) =>
      load({ ...byteLevelMetadata(pre), "tokenizer.ggml.add_bos_token": stated }).encode("")[0];
    expect(added("smollm")).toBeUndefined();
    expect(added("smollm", true)).toBe(0);
    expect(added("llama-bpe")).toBe(0);
    expect(added("llama-bpe", false)).toBeUndefined();
  });

  it("becomes the files of a model folder, which are read as the same tokenizer", async () => {
    const file = header({
      ...byteLevelMetadata("llama-bpe"),
      "tokenizer.ggml.add_bos_token": true,
      "tokenizer.chat_template": "{{ messages[0].content }}",
    });
    const folder = temporaryFolder();
    const generationConfig = generationConfigGguf(file);
    const config = { max_position_embeddings: 64 };
    await writeTokenizerFiles(tokenizerPartsGguf(file), folder, { config, generationConfig });
    const own = loadTokenizerGguf(file);
    const written = await loadTokenizerFolder(folder);
    for (const { text } of byteLevel.texts)
      expect(written.encode(text), text).toEqual(own.encode(text));
    for (const name of ["bosTokenId", "eosTokenId", "padTokenId", "chatTemplate"] as const)
      expect(written[name]).toBe(own[name]);
    const json = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));
    expect(json("generation_config.json")).toEqual({
      bos_token_id: 0,
      eos_token_id: 2,
      pad_token_id: 3,
    });
    expect(json("tokenizer_config.json")).toMatchObject({ model_max_length: 64 });
    // The Rust library wants the ids of every special token that the template puts around a text.
    expect(json("tokenizer.json").post_processor.special_tokens).toEqual({
      "<|endoftext|>": { id: "<|endoftext|>", ids: [0], tokens: ["<|endoftext|>"] },
    });
  });

  it("stops at the end of a turn, too", () => {
    const ends = header({ "tokenizer.ggml.eos_token_id": 0, "tokenizer.ggml.eot_token_id": 2 });
    expect(generationConfigGguf(ends)).toEqual({ eos_token_id: [0, 2] });
  });
});

describe("SentencePiece BPE", () => {
  const stored = readCase<{
    tokens: string[];
    scores: number[];
    types: number[];
    texts: { text: string; ids: number[] }[];
  }>("tokenizer/sentencepiece/cases.json");
  const metadata = {
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": stored.tokens,
    "tokenizer.ggml.scores": Float32Array.from(stored.scores),
    "tokenizer.ggml.token_type": Int32Array.from(stored.types),
    "tokenizer.ggml.unknown_token_id": 0,
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
  };
  const plain = { addSpecialTokens: false, parseSpecialTokens: false };

  it("gives the ids of sentencepiece", () => {
    const tokenizer = load(metadata);
    expect(stored.texts.length).toBeGreaterThan(50);
    for (const { text, ids } of stored.texts) {
      expect(tokenizer.encode(text, plain), text).toEqual(ids);
      // The library takes U+FEFF for a byte-order mark where bytes spell it.
      expect(tokenizer.decode(ids), text).toBe(text.replaceAll("\ufeff", ""));
    }
  });

  it("begins with bos, and with a space unless the file says otherwise", () => {
    expect(load(metadata).encode("a")).toEqual([1, ...load(metadata).encode("a", plain)]);
    const bare = load({ ...metadata, "tokenizer.ggml.add_space_prefix": false });
    expect(bare.decode(bare.encode("a", plain))).toBe("a");
    expect(bare.encode("a", plain)).not.toEqual(load(metadata).encode("a", plain));
  });

  it("needs a score for every token", async () => {
    const short = { ...metadata, "tokenizer.ggml.scores": Float32Array.of(1) };
    await expectFault((async () => load(short))(), /every token has a score/);
  });
});

describe("what is no known tokenizer is refused", () => {
  const cases: [string, Record<string, GgufValue>, RegExp][] = [
    ["none", {}, /no tokenizer in the file/],
    ["another model", { "tokenizer.ggml.model": "bert" }, /"bert"/],
    ["no tokens", { "tokenizer.ggml.model": "gpt2" }, /tokens is a list/],
    [
      "too few types",
      {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a"],
        "tokenizer.ggml.token_type": Int32Array.of(1, 1),
      },
      /every token has a type/,
    ],
    [
      "no merges",
      { "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a"] },
      /merges is a list/,
    ],
    [
      "a merge of one part",
      {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a"],
        "tokenizer.ggml.merges": ["ab"],
      },
      /space between/,
    ],
    [
      "other words",
      {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": ["a"],
        "tokenizer.ggml.pre": "tekken",
      },
      /"tekken"/,
    ],
  ];
  it.each(cases)("%s", async (_, metadata, pattern) => {
    await expectFault((async () => load(metadata))(), pattern);
  });
});
