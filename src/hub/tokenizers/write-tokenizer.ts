// A tokenizer as the files of a model folder, so that Transformers loads it whatever it came from.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import { isJsonObject, type JsonObject } from "../json-file.ts";
import { toJson } from "../number-spelling.ts";
import type { TokenizerParts } from "./tokenizer.ts";

/** Files of older libraries that repeat what the written ones say. */
const REPEATING = ["special_tokens_map.json", "added_tokens.json"];

/** Writes tokenizer.json, tokenizer_config.json and, where there is a template, chat_template.jinja. */
export async function writeTokenizer(
  directory: string,
  { definition, settings, chatTemplate }: TokenizerParts,
): Promise<void> {
  const { chat_template: template, ...rest } = settings;
  const own = { tokenizer_class: "PreTrainedTokenizerFast", ...rest };
  const files: Record<string, JsonObject> = {
    "tokenizer.json": completed(definition),
    "tokenizer_config.json": Array.isArray(template) ? { ...own, chat_template: template } : own,
  };
  for (const [name, content] of Object.entries(files))
    await writeFileAtomically(join(directory, name), toJson(content));
  if (chatTemplate !== undefined)
    await writeFileAtomically(join(directory, "chat_template.jinja"), chatTemplate);
  for (const name of REPEATING) await rm(join(directory, name), { force: true });
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
