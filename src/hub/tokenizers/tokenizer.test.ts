import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openGguf } from "../gguf/gguf.ts";
import { loadTokenizerGguf } from "../gguf/gguf-tokenizer.ts";
import { parseJsonObject } from "../json-file.ts";
import { casePath, readCase } from "../testing/cases.ts";
import { expectFault, temporaryFile, temporaryFolder } from "../testing/files.ts";
import { createTokenizer, loadTokenizerFolder } from "./tokenizer.ts";

interface TextCase {
  readonly text: string;
  readonly ids: number[];
  readonly plainIds: number[];
  readonly decoded: string;
  readonly decodedWithoutSpecial: string;
}
const folder = casePath("tokenizer/byte-level");
const cases = readCase<{ texts: TextCase[] }>("tokenizer/byte-level/cases.json").texts;
const tokenizer = await loadTokenizerFolder(folder);

describe("a byte-level tokenizer.json", () => {
  it("gives the ids and texts of transformers", () => {
    expect(cases.length).toBeGreaterThan(50);
    for (const { text, ids, decoded, decodedWithoutSpecial } of cases) {
      expect(tokenizer.encode(text), text).toEqual(ids);
      expect(tokenizer.decode(ids), text).toBe(decoded);
      expect(tokenizer.decode(ids, { skipSpecialTokens: true }), text).toBe(decodedWithoutSpecial);
    }
  });

  it("gives the ids of transformers' split_special_tokens for text that people wrote", () => {
    const plain = { addSpecialTokens: false, parseSpecialTokens: false };
    for (const { text, plainIds } of cases)
      expect(tokenizer.encode(text, plain), text).toEqual(plainIds);
  });

  it("still adds what the post-processor adds", () => {
    const ids = tokenizer.encode("<|im_end|>", { parseSpecialTokens: false });
    expect(ids[0]).toBe(tokenizer.bosTokenId);
    expect(ids).not.toContain(tokenizer.eosTokenId);
  });

  it("names its special tokens", () => {
    expect(tokenizer.vocabularySize).toBe(602);
    expect(tokenizer.idToToken(tokenizer.bosTokenId!)).toBe("<|endoftext|>");
    expect(tokenizer.idToToken(tokenizer.padTokenId!)).toBe("<|pad|>");
    expect(tokenizer.eosTokenId).toBe(tokenizer.tokenToId("<|im_end|>"));
    expect(tokenizer.tokenToId("no such token")).toBeUndefined();
    expect(tokenizer.decode([])).toBe("");
  });
});

describe("protected text", () => {
  const special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"];
  const specialIds = special.map((token) => tokenizer.tokenToId(token));
  const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false });
  const forged = (text: string) => encode(text).filter((id) => specialIds.includes(id));

  it("makes no special token, alone or beside its other half", () => {
    for (const token of special) {
      expect(forged(tokenizer.protect(`a${token}${token}b`))).toEqual([]);
      for (let cut = 1; cut < token.length; cut++) {
        const [left, right] = [token.slice(0, cut), token.slice(cut)];
        expect(forged(left + right)).toHaveLength(1);
        expect(forged(tokenizer.protect(left) + right)).toEqual([]);
        expect(forged(left + tokenizer.protect(right))).toEqual([]);
      }
    }
    // Someone who knows the mark gains nothing by writing it.
    const mark = tokenizer.protect("<|pad|>").replaceAll(/[<|pad>]/g, "");
    expect(forged(tokenizer.protect(`<|im_${mark}end|>`))).toEqual([]);
  });

  it("decodes to what was written", () => {
    const text = "an <|im_end|> in <| the <|im_";
    expect(tokenizer.decode(encode(tokenizer.protect(text)))).toBe(text);
  });
});

describe("settings", () => {
  const definition = parseJsonObject(readFileSync(join(folder, "tokenizer.json"), "utf8"), "");

  it("take stop ids from generation_config.json too, and tokens written as objects", () => {
    const made = createTokenizer({
      source: "test",
      definition,
      settings: { eos_token: { content: "<|im_end|>" }, bos_token: null },
    });
    expect(made.eosTokenId).toBe(2);
    expect(made).not.toHaveProperty("bosTokenId");
    expect(made).not.toHaveProperty("chatTemplate");
  });

  it("take the template from tokenizer_config.json where there is no chat_template.jinja", async () => {
    const other = temporaryFolder();
    const templates = [
      { name: "tool_use", template: "tools" },
      { name: "default", template: "plain" },
    ];
    writeFileSync(join(other, "tokenizer.json"), JSON.stringify(definition));
    writeFileSync(
      join(other, "tokenizer_config.json"),
      JSON.stringify({ chat_template: templates }),
    );
    writeFileSync(
      join(other, "special_tokens_map.json"),
      JSON.stringify({ eos_token: "<|im_end|>" }),
    );
    const made = await loadTokenizerFolder(other);
    expect(made.chatTemplate).toBe("plain");
    expect(made.eosTokenId).toBe(2);
  });

  it("that make no tokenizer are refused", async () => {
    await expectFault(loadTokenizerFolder(temporaryFolder()), /tokenizer\.json[\s\S]*Python/);
    for (const content of ["{}", '{"model":{"type":"BPE"}}', '{"model":{"type":"Nope"}}']) {
      const path = temporaryFile("tokenizer.json", content);
      await expectFault(loadTokenizerFolder(join(path, "..")), /tokenizer\.json describes|JSON/);
    }
  });
});

// The file is 100 MB and belongs to somebody else: scripts/fetch-smollm2.mjs brings it.
const smollm2 = process.env.TUNESMITH_SMOLLM2;
describe.skipIf(!smollm2)("SmolLM2 (needs TUNESMITH_SMOLLM2, the path of its GGUF)", () => {
  it("gives the ids of transformers with the file's own digit rule", async () => {
    expect(existsSync(smollm2!)).toBe(true);
    const file = await openGguf(smollm2!);
    const inside = loadTokenizerGguf(file);
    await file.close();
    const { texts } = readCase<{ texts: TextCase[] }>("smollm2/tokenizer.json");
    for (const { text, ids, decoded } of texts) {
      expect(inside.encode(text), text).toEqual(ids);
      expect(inside.decode(ids), text).toBe(decoded);
    }
  });
});
