// The Gemmas as GGUF files say them. They are read, not written: llama.cpp has their norms' weights with 1
// added, and leaves out what it knows of them by their size.

import type { JsonObject } from "../json-file.ts";
import { BLOCK_NAMES, type GgufArchitecture, type MetadataNumbers } from "./gguf-architectures.ts";

/** Norms around both halves of a block. */
const AROUND_HALVES = {
  ...BLOCK_NAMES,
  post_attention_norm: "post_attention_layernorm",
  ffn_norm: "pre_feedforward_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
};

/** The factor on scores is of the head's size, but for the model of 27 billion weights, by its depth. */
const attentionScalar = (
  { dimension, optional }: MetadataNumbers,
  layersOfLargest: number,
): number => {
  const ofHidden = dimension("embedding_length") / dimension("attention.head_count");
  if (dimension("block_count") === layersOfLargest) return ofHidden;
  return optional("attention.key_length") ?? ofHidden;
};

const gemma: GgufArchitecture = {
  name: "gemma",
  modelType: "gemma",
  className: "GemmaForCausalLM",
  isInterleaved: false,
  hasExperts: false,
  furtherTensors: [],
  normOffset: 1,
  config: (): JsonObject => ({ hidden_act: "gelu_pytorch_tanh", attention_bias: false }),
};

const withWindows = (numbers: MetadataNumbers, layersOfLargest: number): JsonObject => ({
  hidden_act: null,
  hidden_activation: "gelu_pytorch_tanh",
  attention_bias: false,
  query_pre_attn_scalar: attentionScalar(numbers, layersOfLargest),
  sliding_window: numbers.dimension("attention.sliding_window"),
});

export const GEMMAS: readonly GgufArchitecture[] = [
  gemma,
  {
    ...gemma,
    name: "gemma2",
    modelType: "gemma2",
    className: "Gemma2ForCausalLM",
    names: AROUND_HALVES,
    config: (numbers) => ({
      ...withWindows(numbers, 46),
      attn_logit_softcapping: numbers.optional("attn_logit_softcapping") ?? 50,
      final_logit_softcapping: numbers.optional("final_logit_softcapping") ?? 30,
    }),
  },
  {
    ...gemma,
    name: "gemma3",
    modelType: "gemma3_text",
    className: "Gemma3ForCausalLM",
    names: AROUND_HALVES,
    furtherTensors: ["attn_q_norm.weight", "attn_k_norm.weight"],
    config: (numbers) => ({
      ...withWindows(numbers, 62),
      sliding_window_pattern: numbers.optional("attention.sliding_window_pattern") ?? 6,
      rope_local_base_freq: numbers.optional("rope.freq_base_swa") ?? 10000,
      final_logit_softcapping: numbers.optional("final_logit_softcapping") ?? null,
    }),
  },
];
