// Model folders of a few kilobytes that fill blanks: the weights of GLM-130B's parity case under the tiny
// model's tokenizer, whose last four characters are the tokens around blanks, or with embeddings for icetk's.

import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openCheckpoint } from "../../hub/index.ts";
import { writeSafetensors } from "../../hub/safetensors/safetensors-writer.ts";
import { createRandom } from "../../runtime/random.ts";
import { sizeOf } from "../../tensor/index.ts";
import { writeTinyModel } from "./tiny-model.ts";

const CASE = join(import.meta.dirname, "../../../tests/parity/cases/glm/glm-130b/model");
const ICETK = join(import.meta.dirname, "../../../tests/parity/cases/icetk/nfkc");
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

/** Writes the model with icetk's tokenizer, that of a parity case without image tokens, to `folder`. */
export async function writeTinyIcetkGlm(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await copyFile(join(ICETK, "ice_text.model"), join(folder, "ice_text.model"));
  const { size, special } = JSON.parse(await readFile(join(ICETK, "cases.json"), "utf8")) as {
    readonly size: number;
    readonly special: Readonly<Record<string, number>>;
  };
  const imageTokens = 20_000;
  const idOf = (token: string) => special[token]! - imageTokens;
  const vocabulary = size - imageTokens;
  const config = {
    ...JSON.parse(await readFile(join(CASE, "config.json"), "utf8")),
    vocab_size: vocabulary,
    mask_token_id: idOf("[MASK]"),
    gmask_token_id: idOf("[gMASK]"),
    bos_token_id: idOf("<sop>"),
    eop_token_id: idOf("<eop>"),
  };
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  const settings = JSON.stringify({ num_image_tokens: 0 });
  await writeFile(join(folder, "tokenizer_config.json"), settings);
  const checkpoint = await openCheckpoint(CASE);
  const random = createRandom(5);
  try {
    const tensors = [];
    for (const { name, shape } of checkpoint.tensors.values()) {
      const isEmbedding = name.endsWith("word_embeddings.weight");
      const own = isEmbedding ? [vocabulary, shape[1]!] : shape;
      const data = new Float32Array(sizeOf(own));
      if (isEmbedding) for (const i of data.keys()) data[i] = 0.5 * random.normal();
      else await checkpoint.readFloat32Into(name, data);
      tensors.push({ name, dtype: "F32" as const, shape: own, data });
    }
    await writeSafetensors(join(folder, "model.safetensors"), tensors);
  } finally {
    await checkpoint.close();
  }
}
