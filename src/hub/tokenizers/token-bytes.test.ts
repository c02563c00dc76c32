// The bytes of a text's tokens, one behind the other, are the text's; a token's alone need be no text.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseJsonObject } from "../json-file.ts";
import { casePath, readCase } from "../testing/cases.ts";
import { sentencePieceCase } from "../testing/sentencepiece-tokenizer.ts";
import { createTokenBytes } from "./token-bytes.ts";
import { loadTokenizerFolder } from "./tokenizer.ts";
import type { Tokenizer } from "./tokenizer-types.ts";

const PLAIN = { addSpecialTokens: false, parseSpecialTokens: false };

interface TextCases {
  readonly texts: readonly { readonly text: string }[];
}

const joined = (tokenizer: Tokenizer, ids: readonly number[]): Buffer =>
  Buffer.concat(ids.map((id) => tokenizer.tokenBytes!(id)!));

describe("byte-level", async () => {
  const tokenizer = await loadTokenizerFolder(casePath("tokenizer/byte-level"));
  const { texts } = readCase<TextCases>("tokenizer/byte-level/cases.json");

  it("bytes joined are the text", () => {
    expect(texts.length).toBeGreaterThan(50);
    for (const { text } of texts)
      expect(joined(tokenizer, tokenizer.encode(text, PLAIN)), text).toEqual(Buffer.from(text));
  });

  it("all 256 bytes are there, each of them once", () => {
    const single = Array.from({ length: 602 }, (_, id) => tokenizer.tokenBytes!(id)).filter(
      (bytes) => bytes?.length === 1,
    );
    expect(new Set(single.map((bytes) => bytes![0])).size).toBe(256);
  });

  it("tokens that were added are their own text, and special ones no text", () => {
    const bytesOf = (token: string) => tokenizer.tokenBytes!(tokenizer.tokenToId(token)!);
    expect(Buffer.from(bytesOf("<tool>")!).toString()).toBe("<tool>");
    expect(bytesOf("<|im_end|>")).toBeUndefined();
    expect(tokenizer.tokenBytes!(tokenizer.vocabularySize)).toBeUndefined();
  });
});

it("the embedded model's, too", async () => {
  const folder = join(import.meta.dirname, "../../../assets/embedded-model");
  const tokenizer = await loadTokenizerFolder(folder);
  for (const { text } of readCase<TextCases>("tokenizer/byte-level/cases.json").texts)
    expect(joined(tokenizer, tokenizer.encode(text, PLAIN)), text).toEqual(Buffer.from(text));
});

it("SentencePiece: the space in front belongs to the first token, bytes are bytes", () => {
  const { tokenizer, tokens, texts } = sentencePieceCase();
  expect(texts.length).toBeGreaterThan(50);
  for (const { text } of texts) {
    const before = text === "" ? "" : " ";
    const bytes = joined(tokenizer, tokenizer.encode(text, PLAIN));
    expect(bytes, text).toEqual(Buffer.from(before + text));
  }
  expect(tokenizer.tokenBytes!(tokens.indexOf("<0xE9>"))).toEqual(Uint8Array.of(0xe9));
  expect(tokenizer.tokenBytes!(1)).toBeUndefined();
});

describe("decoders", () => {
  const names = ["▁a", "<0x0A>", "a▁b"];
  const bytesBy = (decoder: object | null) =>
    createTokenBytes({ decoder } as never, { name: (id) => names[id], added: new Map() });

  it("are followed step by step", () => {
    const texts = (decoder: object) =>
      names.map((_, id) => Buffer.from(bytesBy(decoder)!(id)!).toString());
    const replace = { type: "Replace", pattern: { String: "▁" }, content: " " };
    const fallback = { type: "ByteFallback" };
    expect(texts({ type: "Metaspace", replacement: "▁" })).toEqual([" a", "<0x0A>", "a b"]);
    expect(texts({ type: "Sequence", decoders: [replace, fallback, { type: "Fuse" }] })).toEqual([
      " a",
      "\n",
      "a b",
    ]);
  });

  it("that do more than put bytes behind one another have none", () => {
    const pattern = { Regex: "a+" };
    for (const decoder of [
      null,
      { type: "WordPiece" },
      { type: "Replace", pattern, content: "" },
      { type: "Sequence", decoders: [{ type: "ByteLevel" }, { type: "CTC" }] },
    ])
      expect(bytesBy(decoder)).toBeUndefined();
    const { decoder: _, ...rest } = parseJsonObject(
      readFileSync(casePath("tokenizer/byte-level/tokenizer.json"), "utf8"),
      "",
    );
    expect(createTokenBytes(rest, { name: () => "a", added: new Map() })).toBeUndefined();
  });
});
