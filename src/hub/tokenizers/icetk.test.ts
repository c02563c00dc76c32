import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { casePath, readCase } from "../testing/cases.ts";
import { expectFault } from "../testing/files.ts";
import { createIcetk, loadIcetkFolder } from "./icetk.ts";

interface IcetkCase {
  readonly size: number;
  readonly special: Readonly<Record<string, number>>;
  readonly texts: readonly {
    readonly text: string;
    readonly ids: readonly number[];
    readonly decoded: string;
  }[];
}

const PLAIN = { parseSpecialTokens: false };

describe.each(["nfkc", "identity"])("a model of the normalisation %s", async (name) => {
  const { size, special, texts } = readCase<IcetkCase>(`icetk/${name}/cases.json`);
  const tokenizer = await loadIcetkFolder(casePath(`icetk/${name}`));

  it("has the ids of SentencePiece, behind those of images", () => {
    expect(tokenizer.vocabularySize).toBe(size);
    for (const [token, id] of Object.entries(special)) {
      expect(tokenizer.tokenToId(token)).toBe(id);
      expect(tokenizer.idToToken(id)).toBe(token);
    }
    expect(tokenizer.eosTokenId).toBe(special["</s>"]);
    expect(tokenizer.idToToken(19_999)).toBeUndefined();
  });

  it("reads and writes texts as SentencePiece does", () => {
    expect(texts.length).toBeGreaterThan(40);
    for (const { text, ids, decoded } of texts) {
      expect(tokenizer.encode(text, PLAIN), JSON.stringify(text)).toEqual(ids);
      expect(tokenizer.decode(ids), JSON.stringify(text)).toBe(decoded);
    }
  });

  it("tells tokens that are meant from such that are written", () => {
    const { "[MASK]": mask, "<sop>": start } = special;
    const told = tokenizer.encode("a [MASK] b<sop>");
    expect(told.filter((id) => id === mask || id === start)).toEqual([mask, start]);
    expect(told).toEqual([
      ...tokenizer.encode("a ", PLAIN),
      mask,
      ...tokenizer.encode(" b", PLAIN),
      start,
    ]);
    expect(tokenizer.encode(tokenizer.protect("a [MASK]"))).toEqual(
      tokenizer.encode("a [MASK]", PLAIN),
    );
    expect(tokenizer.decode(told)).toMatch(/\[MASK\].*<sop>$/);
    expect(tokenizer.decode(told, { skipSpecialTokens: true })).not.toContain("MASK");
  });
});

it("takes ids and names from tokenizer_config.json", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-icetk-"));
  try {
    await copyFile(casePath("icetk/nfkc/ice_text.model"), join(folder, "ice_text.model"));
    const settings = { num_image_tokens: 0, bos_token: "<sop>", eos_token: { content: "<eop>" } };
    await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(settings));
    const tokenizer = await loadIcetkFolder(folder);
    const { special } = readCase<IcetkCase>("icetk/nfkc/cases.json");
    expect(tokenizer.bosTokenId).toBe(special["<sop>"]! - 20_000);
    expect(tokenizer.eosTokenId).toBe(special["<eop>"]! - 20_000);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("what is no such file is refused", async () => {
  const file = await readFile(casePath("icetk/nfkc/ice_text.model"));
  const make = async (bytes: Uint8Array, settings = {}) => createIcetk(bytes, settings, "x.model");
  it("bytes of something else, and a file that is cut off", async () => {
    await expectFault(make(Buffer.from("no model")), /x\.model[\s\S]*is a model file/);
    await expectFault(make(file.subarray(0, 5000)), /is a model file/);
    await expectFault(make(new Uint8Array()), /is a model file[\s\S]*no pieces/);
  });
  it("a model of another kind", async () => {
    // trainer_spec { model_type: BPE }
    const bpe = Buffer.concat([file, Buffer.from([0x12, 2, 0x18, 2])]);
    await expectFault(make(bpe), /unigram model[\s\S]*model_type 2/);
  });
  it("a count that is none", async () => {
    await expectFault(make(file, { num_image_tokens: "many" }), /num_image_tokens/);
  });
});
