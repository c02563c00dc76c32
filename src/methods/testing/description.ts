// A small LLaMA as methods see it, for their tests.

import { architectureFor } from "../../models/index.ts";
import type { ModelDescription, Vocabulary } from "../method.ts";
import { modelDescription } from "../model-description.ts";

const CONFIG = {
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 96,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 50,
  tie_word_embeddings: true,
};

export function describeModel(changes: Record<string, unknown> = {}): ModelDescription {
  return modelDescription(architectureFor({ ...CONFIG, ...changes }), "llama", "tiny-llama");
}

/** For first values that must not be made of tokens. */
export const noVocabulary: Vocabulary = {
  ids: async (text) => Promise.reject(new Error(`read ${text}`)),
  embeddings: async (ids) => Promise.reject(new Error(`read ${ids}`)),
};
