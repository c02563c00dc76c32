// What stands beside the graphs of an exported folder, as transformers.js reads it (4.3): configuration, and
// the chat template where it looks for one.

import { join } from "node:path";
import {
  type Checkpoint,
  type JsonObject,
  readJsonObject,
  readTextIfPresent,
  toJson,
  writeFileAtomically,
} from "../../hub/index.ts";
import type { BoundArchitecture } from "../../models/index.ts";

/**
 * Model types that it has no class for, or, of Falcon, one that asks for another cache. Of a type it only
 * wants to know the sizes of the cache, so their folders say these, under a type that it knows.
 */
const WRITTEN_AS_LLAMA: ReadonlySet<unknown> = new Set(["chatglm", "falcon", "glm4", "mixtral"]);

const TOKENS = ["bos_token_id", "eos_token_id", "pad_token_id"];

/** What it is told of the graphs. */
export interface GraphFiles {
  /** Its name of the type that is loaded by default. */
  readonly dtype: string;
  /** How many files of weights each graph has, by the graph's file. */
  readonly dataFiles: Readonly<Record<string, number>>;
}

/** Writes configuration and tokenizer into the folder. */
export async function writeBesideGraphs(
  directory: string,
  checkpoint: Checkpoint,
  architecture: BoundArchitecture,
  { dtype, dataFiles }: GraphFiles,
): Promise<void> {
  await checkpoint.writeSideFiles(directory);
  await putTemplateIntoSettings(directory);
  const { quantization_config: _, ...config } = checkpoint.config;
  const told = { dtype, use_external_data_format: dataFiles };
  const named = WRITTEN_AS_LLAMA.has(config.model_type) ? asLlama(config, architecture) : config;
  await writeFileAtomically(
    join(directory, "config.json"),
    toJson({ ...named, "transformers.js_config": told }),
  );
}

function asLlama(config: JsonObject, { dimensions }: BoundArchitecture): JsonObject {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    num_hidden_layers: dimensions.layers,
    num_attention_heads: dimensions.heads,
    num_key_value_heads: dimensions.keyValueHeads,
    head_dim: dimensions.headSize,
    hidden_size: dimensions.hiddenSize,
    vocab_size: dimensions.vocabularySize,
    max_position_embeddings: dimensions.maximumPositions,
    ...Object.fromEntries(Object.entries(config).filter(([key]) => TOKENS.includes(key))),
  };
}

/** Transformers writes the template into a file of its own, which transformers.js does not open for a tokenizer. */
async function putTemplateIntoSettings(directory: string): Promise<void> {
  const template = await readTextIfPresent(join(directory, "chat_template.jinja"));
  if (template === undefined) return;
  const path = join(directory, "tokenizer_config.json");
  const settings = (await readJsonObject(path)) ?? {};
  await writeFileAtomically(path, toJson({ ...settings, chat_template: template }));
}
