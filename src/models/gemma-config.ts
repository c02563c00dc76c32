// What the Gemmas have in common: tied and scaled embeddings, norms whose weights are offsets from 1,
// and in what config.json says of them.

import { type ActivationName, readActivation } from "./activations.ts";
import type { BlockNorms } from "./block-norms.ts";
import type { ConfigReader } from "./config-reader.ts";
import { type FieldReaders, readAttentionBias, readLlamaLike } from "./llama-config.ts";
import type { DenseConfig } from "./swiglu.ts";

/** Norms around both halves (Gemma 2 and 3). */
export const GEMMA_NORMS: BlockNorms = {
  attention: { before: "input_layernorm", after: "post_attention_layernorm" },
  feedForward: { before: "pre_feedforward_layernorm", after: "post_feedforward_layernorm" },
};

/** The activation's key since Gemma 2. */
export const readGemmaActivation = (reader: ConfigReader): ActivationName =>
  readActivation(reader, "hidden_activation", "gelu_pytorch_tanh");

export function readGemma(reader: ConfigReader, readers: FieldReaders): DenseConfig {
  reader.only("use_bidirectional_attention", false);
  const defaults = { normEpsilon: 1e-6, headSize: 256, tiedHead: true };
  const config = readLlamaLike(reader, defaults, readers);
  return {
    ...config,
    ...readAttentionBias(reader),
    embeddingScale: Math.sqrt(config.hiddenSize),
    intermediateSize: reader.integer("intermediate_size"),
  };
}

/** The factor on scores, 1 / √`query_pre_attn_scalar`. */
export const readAttentionScale = (reader: ConfigReader): number =>
  1 / Math.sqrt(reader.integer("query_pre_attn_scalar", 256));

/**
 * A cap on scores or logits; null in the config means none.
 * @param fallback what a config without the key means
 */
export function readCap(reader: ConfigReader, key: string, fallback?: number): number | undefined {
  if (reader.isNull(key) || (!reader.has(key) && fallback === undefined)) return undefined;
  const cap = reader.number(key, fallback);
  if (cap === 0) reader.fault(key, "must be above 0, or null for none");
  return cap;
}
