// Architectures with layer norms or fused projections of GPT's kin, as GGUF files say them. What their
// activations compute in llama.cpp is GELU in its form with tanh, whatever form a config names.

import type { JsonObject } from "../json-file.ts";
import type { GgufArchitecture, SizeKeys } from "./gguf-architecture.ts";
import { ungrouped } from "./gguf-row-order.ts";

const KEYS: SizeKeys = {
  layers: "num_hidden_layers",
  positions: "max_position_embeddings",
  hidden: "hidden_size",
  inner: "intermediate_size",
  heads: "num_attention_heads",
  epsilon: "layer_norm_eps",
  vocabulary: "vocab_size",
};

/** Megatron's names, which NeoX, Falcon and ChatGLM have. */
const FEED_FORWARD = { ffn_up: "mlp.dense_h_to_4h", ffn_down: "mlp.dense_4h_to_h" };

const TANH_GELU = ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"];
const ROPE = { theta: "rope_theta", scalings: ["linear", "yarn"] };
const BLOCK = ["attn_norm", "attn_qkv", "attn_output", "ffn_norm", "ffn_up", "ffn_down"];

const falconIsNew = ({ new_decoder_architecture: isNew }: JsonObject) => isNew === true;
const falconNorms = (config: JsonObject) =>
  config.num_ln_in_parallel_attn ?? (falconIsNew(config) ? 2 : 1);

const FALCON = {
  name: "falcon",
  modelType: "falcon",
  className: "FalconForCausalLM",
  modelNames: {
    token_embd: "transformer.word_embeddings",
    output_norm: "transformer.ln_f",
    output: "lm_head",
  },
  blocks: "transformer.h.",
  biases: ["attn_norm", "attn_norm_2", "output_norm"],
  keys: { ...KEYS, inner: "ffn_hidden_size", epsilon: "layer_norm_epsilon" },
  norm: "layer",
  rope: ROPE,
  defaults: {
    num_hidden_layers: 32,
    hidden_size: 4544,
    num_attention_heads: 71,
    layer_norm_epsilon: 1e-5,
    vocab_size: 65024,
  },
  rows: (part, { heads, keyValueHeads, headSize }) =>
    part.startsWith("attn_qkv")
      ? ungrouped(keyValueHeads, heads / keyValueHeads, headSize)
      : undefined,
} satisfies Partial<GgufArchitecture>;

const FALCON_FIXED = { activation: ["gelu"], alibi: [false], parallel_attn: [true], bias: [false] };

const FALCON_BLOCK = {
  attn_qkv: "self_attention.query_key_value",
  attn_output: "self_attention.dense",
  ...FEED_FORWARD,
};

/** @param config the keys that follow from how many heads and norms there are */
const falconOwn = (
  config: (keyValueHeads: number) => JsonObject,
): NonNullable<GgufArchitecture["own"]> => ({
  sizes(json, { heads }) {
    const grouped = falconIsNew(json) ? Number(json.num_kv_heads ?? heads) : heads;
    return { keyValueHeads: !falconIsNew(json) && (json.multi_query ?? true) ? 1 : grouped };
  },
  entries: () => [["tensor_data_layout", { string: "jploski" }]],
  config({ metadata, fault }, { keyValueHeads }) {
    const layout = metadata.get("falcon.tensor_data_layout");
    if (layout !== "jploski")
      throw fault(
        'falcon.tensor_data_layout is "jploski"',
        JSON.stringify(layout) ?? "no such key",
      );
    return config(keyValueHeads);
  },
});

/** `rope_ratio` as the generation of the model means it, which is known by its name. */
function chatglmRope({ rope_ratio: ratio, _name_or_path: name }: JsonObject): JsonObject {
  const half = { rope_theta: 10000, partial_rotary_factor: 0.5 };
  const factor = Number(ratio ?? 1);
  return factor !== 1 && /chatglm2/i.test(String(name))
    ? { ...half, rope_type: "linear", factor }
    : { ...half, rope_theta: 10000 * factor };
}

export const GPTS: readonly GgufArchitecture[] = [
  {
    name: "gpt2",
    modelType: "gpt2",
    className: "GPT2LMHeadModel",
    modelNames: {
      token_embd: "transformer.wte",
      position_embd: "transformer.wpe",
      output_norm: "transformer.ln_f",
      output: "lm_head",
    },
    blocks: "transformer.h.",
    blockNames: {
      attn_norm: "ln_1",
      attn_qkv: "attn.c_attn",
      attn_output: "attn.c_proj",
      ffn_norm: "ln_2",
      ffn_up: "mlp.c_fc",
      ffn_down: "mlp.c_proj",
    },
    biases: [...BLOCK, "output_norm"],
    keys: {
      layers: "n_layer",
      positions: "n_positions",
      hidden: "n_embd",
      inner: "n_inner",
      heads: "n_head",
      epsilon: "layer_norm_epsilon",
      vocabulary: "vocab_size",
    },
    norm: "layer",
    defaults: {
      n_layer: 12,
      n_positions: 1024,
      n_embd: 768,
      n_head: 12,
      layer_norm_epsilon: 1e-5,
      vocab_size: 50257,
    },
    fixed: {
      activation_function: TANH_GELU,
      scale_attn_weights: [true],
      scale_attn_by_inverse_layer_idx: [false],
    },
  },
  {
    name: "gptneox",
    modelType: "gpt_neox",
    className: "GPTNeoXForCausalLM",
    modelNames: {
      token_embd: "gpt_neox.embed_in",
      output_norm: "gpt_neox.final_layer_norm",
      output: "embed_out",
    },
    blocks: "gpt_neox.layers.",
    blockNames: {
      attn_norm: "input_layernorm",
      attn_qkv: "attention.query_key_value",
      attn_output: "attention.dense",
      ffn_norm: "post_attention_layernorm",
      ...FEED_FORWARD,
    },
    biases: [...BLOCK, "output_norm"],
    needsOutput: true,
    keys: KEYS,
    norm: "layer",
    rope: { ...ROPE, theta: "rotary_emb_base", share: "rotary_pct" },
    defaults: {
      num_hidden_layers: 44,
      hidden_size: 6144,
      intermediate_size: 24576,
      num_attention_heads: 64,
      layer_norm_eps: 1e-5,
      vocab_size: 50432,
      rotary_pct: 0.25,
      use_parallel_residual: true,
    },
    fixed: { hidden_act: ["gelu"], attention_bias: [true] },
    further: [
      { key: "use_parallel_residual", config: ["use_parallel_residual"], as: "bool", absent: true },
    ],
    rows: (part, { heads, headSize }) =>
      part.startsWith("attn_qkv") ? ungrouped(heads, 1, headSize) : undefined,
  },
  {
    ...FALCON,
    isFor: (config) => falconNorms(config) === 2,
    isOf: ({ tensors }) => tensors.has("blk.0.attn_norm_2.weight"),
    blockNames: { ...FALCON_BLOCK, attn_norm: "ln_mlp", attn_norm_2: "ln_attn" },
    fixed: { ...FALCON_FIXED, new_decoder_architecture: [true] },
    own: falconOwn((heads) => ({ num_kv_heads: heads, num_ln_in_parallel_attn: 2 })),
  },
  {
    ...FALCON,
    isFor: (config) => falconNorms(config) === 1,
    isOf: ({ tensors }) => !tensors.has("blk.0.attn_norm_2.weight"),
    blockNames: { ...FALCON_BLOCK, attn_norm: "input_layernorm" },
    fixed: FALCON_FIXED,
    own: falconOwn((heads) =>
      heads === 1
        ? { new_decoder_architecture: false, multi_query: true }
        : { new_decoder_architecture: true, num_ln_in_parallel_attn: 1, num_kv_heads: heads },
    ),
  },
  {
    name: "phi2",
    modelType: "phi",
    className: "PhiForCausalLM",
    modelNames: {
      token_embd: "model.embed_tokens",
      output_norm: "model.final_layernorm",
      output: "lm_head",
    },
    blocks: "model.layers.",
    blockNames: {
      attn_norm: "input_layernorm",
      attn_q: "self_attn.q_proj",
      attn_k: "self_attn.k_proj",
      attn_v: "self_attn.v_proj",
      attn_output: "self_attn.dense",
      ffn_up: "mlp.fc1",
      ffn_down: "mlp.fc2",
    },
    biases: [...BLOCK, "attn_q", "attn_k", "attn_v", "output_norm", "output"],
    needsOutput: true,
    keys: { ...KEYS, keyValueHeads: "num_key_value_heads" },
    norm: "layer",
    rope: { ...ROPE, share: "partial_rotary_factor" },
    defaults: { layer_norm_eps: 1e-5, partial_rotary_factor: 0.5 },
    fixed: { hidden_act: TANH_GELU, qk_layernorm: [false] },
    headsFillHidden: true,
  },
  {
    name: "chatglm",
    modelType: "chatglm",
    className: "ChatGLMModel",
    isOf: ({ tensors }) => tensors.has("blk.0.attn_qkv.weight"),
    modelNames: {
      token_embd: "transformer.embedding.word_embeddings",
      output_norm: "transformer.encoder.final_layernorm",
      output: "transformer.output_layer",
    },
    blocks: "transformer.encoder.layers.",
    blockNames: {
      attn_norm: "input_layernorm",
      attn_qkv: "self_attention.query_key_value",
      attn_output: "self_attention.dense",
      ffn_norm: "post_attention_layernorm",
      ...FEED_FORWARD,
    },
    biases: ["attn_qkv"],
    keys: {
      layers: "num_layers",
      positions: "seq_length",
      hidden: "hidden_size",
      inner: "ffn_hidden_size",
      heads: "num_attention_heads",
      headSize: "kv_channels",
      epsilon: "layernorm_epsilon",
      vocabulary: "padded_vocab_size",
    },
    norm: "rms",
    rope: {
      theta: "rope_theta",
      share: "partial_rotary_factor",
      scalings: ["linear"],
      parameters: chatglmRope,
      // ChatGLM2 divides positions by the ratio, those after it multiply the base.
      config: ({ rope_theta: theta, rope_type: type, factor }) => {
        if (type === "linear") return { rope_ratio: factor, _name_or_path: "chatglm2" };
        return { rope_ratio: Number(theta) / 10000, _name_or_path: "chatglm3" };
      },
    },
    defaults: {
      num_layers: 28,
      hidden_size: 4096,
      num_attention_heads: 32,
      kv_channels: 128,
      ffn_hidden_size: 13696,
      layernorm_epsilon: 1e-5,
      padded_vocab_size: 65024,
    },
    fixed: { add_bias_linear: [false] },
    headsFillHidden: true,
    rows: (part, { heads, headSize }, config) =>
      part.startsWith("attn_qkv") && config.multi_query_attention !== true
        ? ungrouped(heads, 1, headSize)
        : undefined,
    own: {
      sizes: ({ multi_query_attention: isGrouped, multi_query_group_num: groups }, { heads }) => ({
        keyValueHeads: isGrouped === true ? Number(groups ?? 1) : heads,
      }),
      // In the file heads never lie one by one.
      config: ({ tensors }, { keyValueHeads }) => ({
        multi_query_attention: true,
        multi_query_group_num: keyValueHeads,
        add_qkv_bias: tensors.has("blk.0.attn_qkv.bias"),
      }),
    },
  },
];
