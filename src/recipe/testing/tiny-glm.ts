// A model folder of a few kilobytes that fills blanks: the weights of GLM-130B's parity case under the tiny
// model's tokenizer, whose last four characters are the tokens around blanks.

import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeTinyModel } from "./tiny-model.ts";

const CASE = join(import.meta.dirname, "../../../tests/parity/cases/glm/glm-130b/model");
const BLANK_TOKENS = ["[MASK]", "[gMASK]", "<eop>", "<sop>"];

interface TokenizerFile {
  readonly added_tokens: Record<string, unknown>[];
  readonly model: { vocab: Record<string, number> };
}

/** Writes the model to `folder`. Texts for it have none of the characters z { | }. */
export async function writeTinyGlm(folder: string): Promise<void> {
  await writeTinyModel(folder);
  for (const file of ["config.json", "model.safetensors"])
    await copyFile(join(CASE, file), join(folder, file));
  await rm(join(folder, "generation_config.json"));
  const path = join(folder, "tokenizer.json");
  const tokenizer = JSON.parse(await readFile(path, "utf8")) as TokenizerFile;
  const first = Object.keys(tokenizer.model.vocab).length - BLANK_TOKENS.length;
  const kept = Object.entries(tokenizer.model.vocab).filter(([, id]) => id < first);
  const special = BLANK_TOKENS.map((content, index) => ({ content, id: first + index }));
  tokenizer.model.vocab = Object.fromEntries([
    ...kept,
    ...special.map(({ content, id }) => [content, id]),
  ]);
  tokenizer.added_tokens.push(
    ...special.map((token) => ({ ...tokenizer.added_tokens[0], ...token })),
  );
  await writeFile(path, JSON.stringify(tokenizer));
}
