// The files that stand beside weights in a model folder, written from what a GGUF keeps of them, so that
// a model that came as a GGUF becomes a folder that Transformers loads.

import { join } from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import type { Checkpoint } from "../checkpoint-types.ts";
import { isJsonObject, type JsonObject } from "../json-file.ts";
import { toJson } from "../number-spelling.ts";
import type { TokenizerParts } from "../tokenizers/tokenizer.ts";

/**
 * Writes tokenizer.json, tokenizer_config.json, generation_config.json and, where there is a template,
 * chat_template.jinja.
 */
export async function writeTokenizerFiles(
  { definition, settings, chatTemplate }: TokenizerParts,
  directory: string,
  { config, generationConfig }: Pick<Checkpoint, "config" | "generationConfig">,
): Promise<void> {
  const files: Record<string, object> = {
    "tokenizer.json": completed(definition),
    "tokenizer_config.json": {
      tokenizer_class: "PreTrainedTokenizerFast",
      ...settings,
      clean_up_tokenization_spaces: false,
      model_max_length: config.max_position_embeddings,
    },
    "generation_config.json": generationConfig ?? {},
  };
  for (const [name, content] of Object.entries(files))
    await writeFileAtomically(join(directory, name), toJson(content));
  if (chatTemplate !== undefined)
    await writeFileAtomically(join(directory, "chat_template.jinja"), chatTemplate);
}

/** The keys that the Rust library insists on and the JavaScript one does without. */
function completed(definition: JsonObject): JsonObject {
  const added = Array.isArray(definition.added_tokens) ? definition.added_tokens : [];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    normalizer: null,
    ...definition,
    added_tokens: added
      .filter(isJsonObject)
      .map((token) => ({ single_word: false, lstrip: false, rstrip: false, ...token })),
    pre_tokenizer: withByteLevelKeys(definition.pre_tokenizer ?? null),
    decoder: withByteLevelKeys(definition.decoder ?? null),
  };
}

function withByteLevelKeys(step: unknown): unknown {
  if (!isJsonObject(step)) return step;
  if (Array.isArray(step.pretokenizers))
    return { ...step, pretokenizers: step.pretokenizers.map(withByteLevelKeys) };
  if (step.type !== "ByteLevel") return step;
  return { add_prefix_space: false, trim_offsets: true, use_regex: false, ...step };
}
