// Streamed text: put together it is the decoded whole, and no piece holds half a character.

import { expect, it } from "vitest";
import { loadTokenizerFolder, type Tokenizer } from "../hub/index.ts";
import { casePath } from "../hub/testing/cases.ts";
import { sentencePieceCase } from "../hub/testing/sentencepiece-tokenizer.ts";
import { createTextPieces } from "./text-pieces.ts";

const byteLevel = () => loadTokenizerFolder(casePath("tokenizer/byte-level"));

const sentencePiece = (): Tokenizer => sentencePieceCase().tokenizer;

it.each<[string, () => Tokenizer | Promise<Tokenizer>]>([
  ["byte-level", byteLevel],
  ["SentencePiece", sentencePiece],
])("streams text of a %s tokenizer", async (_, load) => {
  const tokenizer = await load();
  const text = "Fjörd: 水の音 🌊👩‍🚀 and  two spaces\nnew line.";
  const ids = tokenizer.encode(text, { addSpecialTokens: false });
  const prompt = ids.slice(0, 3);
  const pieces = createTextPieces(tokenizer, prompt);
  const out = ids.slice(3).map((id) => pieces.add(id));
  expect(ids.length).toBeGreaterThan(20);
  expect(out.join("")).not.toContain("\ufffd");
  expect(out.some((piece) => piece === "")).toBe(true); // some characters take several tokens
  const shown = tokenizer.decode(prompt).replace(/\ufffd+$/, "");
  expect(shown + out.join("") + pieces.finish()).toBe(tokenizer.decode(ids));
});

it("shows an unfinished character only at the end", async () => {
  const tokenizer = await byteLevel();
  const ids = tokenizer.encode("a🌊", { addSpecialTokens: false });
  const pieces = createTextPieces(tokenizer, []);
  const out = ids.slice(0, -1).map((id) => pieces.add(id));
  expect(out.join("")).toBe("a");
  expect(pieces.finish()).toMatch(/^\ufffd+$/);
});
