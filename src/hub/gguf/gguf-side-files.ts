// The files that stand beside weights in a model folder, written from what a GGUF keeps of them, so that
// a model that came as a GGUF becomes a folder that Transformers loads.

import { join } from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import type { Checkpoint } from "../checkpoint-types.ts";
import { toJson } from "../number-spelling.ts";
import type { TokenizerParts } from "../tokenizers/tokenizer.ts";
import { writeTokenizer } from "../tokenizers/write-tokenizer.ts";

/** Writes the tokenizer's files and generation_config.json. */
export async function writeTokenizerFiles(
  parts: TokenizerParts,
  directory: string,
  { config, generationConfig }: Pick<Checkpoint, "config" | "generationConfig">,
): Promise<void> {
  const settings = {
    ...parts.settings,
    clean_up_tokenization_spaces: false,
    model_max_length: config.max_position_embeddings,
  };
  await writeTokenizer(directory, { ...parts, settings });
  await writeFileAtomically(
    join(directory, "generation_config.json"),
    toJson(generationConfig ?? {}),
  );
}
