// LLaMA and its kin as GGUF files say them.

import type { FurtherKey, GgufArchitecture, Names, SizeKeys } from "./gguf-architecture.ts";
import { interleaved } from "./gguf-row-order.ts";

const KEYS: SizeKeys = {
  layers: "num_hidden_layers",
  positions: "max_position_embeddings",
  hidden: "hidden_size",
  inner: "intermediate_size",
  heads: "num_attention_heads",
  keyValueHeads: "num_key_value_heads",
  headSize: "head_dim",
  epsilon: "rms_norm_eps",
  vocabulary: "vocab_size",
};

export const ATTENTION: Names = {
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
};

export const HEAD_NORMS: Names = {
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
};

/** Norms in front of both halves. */
export const NORMS: Names = { attn_norm: "input_layernorm", ffn_norm: "post_attention_layernorm" };

export const DENSE: Names = {
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

/** Gate and up in one matrix. */
const FUSED_DENSE: Names = { ffn_up: "mlp.gate_up_proj", ffn_down: "mlp.down_proj" };

const QKV = ["attn_q", "attn_k", "attn_v"];

/** What they have in common. */
export const KIN = {
  modelNames: { token_embd: "model.embed_tokens", output_norm: "model.norm", output: "lm_head" },
  blocks: "model.layers.",
  blockNames: { ...ATTENTION, ...NORMS, ...DENSE },
  biases: [],
  keys: KEYS,
  norm: "rms",
  rope: { theta: "rope_theta", scalings: ["linear", "yarn"] },
  defaults: { rms_norm_eps: 1e-6, max_position_embeddings: 2048 },
  fixed: { hidden_act: ["silu", "swish"] },
} satisfies Partial<GgufArchitecture>;

const hasExperts: NonNullable<GgufArchitecture["isOf"]> = ({ metadata }) =>
  Number(metadata.get(`${metadata.get("general.architecture")}.expert_count`) ?? 0) > 0;
const isDense: typeof hasExperts = (file) => !hasExperts(file);

const llama: GgufArchitecture = {
  ...KIN,
  name: "llama",
  modelType: "llama",
  className: "LlamaForCausalLM",
  isOf: isDense,
  biases: [...QKV, "attn_output", "ffn_gate", "ffn_up", "ffn_down"],
  rope: { ...KIN.rope, scalings: ["linear", "llama3", "yarn"] },
  rows: (part, { heads, keyValueHeads, headSize }) =>
    /^attn_[qk]\./.test(part)
      ? interleaved(part.startsWith("attn_q") ? heads : keyValueHeads, headSize)
      : undefined,
  own: {
    config: ({ tensors }) => ({
      attention_bias: tensors.has("blk.0.attn_q.bias"),
      mlp_bias: tensors.has("blk.0.ffn_up.bias"),
    }),
  },
};

const routing = (experts: readonly string[]): readonly FurtherKey[] => [
  { key: "expert_count", config: experts, as: "uint32" },
  { key: "expert_used_count", config: ["num_experts_per_tok"], as: "uint32" },
];

const mixtral: GgufArchitecture = {
  ...llama,
  modelType: "mixtral",
  className: "MixtralForCausalLM",
  isOf: hasExperts,
  biases: [],
  blockNames: {
    ...ATTENTION,
    ...NORMS,
    ffn_gate_inp: "block_sparse_moe.gate",
    ffn_gate_exps: "block_sparse_moe.experts.#.w1",
    ffn_down_exps: "block_sparse_moe.experts.#.w2",
    ffn_up_exps: "block_sparse_moe.experts.#.w3",
  },
  defaults: {
    ...KIN.defaults,
    rms_norm_eps: 1e-5,
    rope_theta: 1e6,
    num_local_experts: 8,
    num_experts_per_tok: 2,
  },
  further: routing(["num_local_experts"]),
  own: { config: () => ({ sliding_window: null }) },
};

const QWEN = {
  ...KIN,
  defaults: { ...KIN.defaults, use_sliding_window: false, sliding_window: 4096 },
  own: { config: () => ({ use_sliding_window: false }) },
} satisfies Partial<GgufArchitecture>;

const QWEN_EXPERTS: Names = {
  ffn_gate_inp: "mlp.gate",
  ffn_gate_exps: "mlp.experts.#.gate_proj",
  ffn_up_exps: "mlp.experts.#.up_proj",
  ffn_down_exps: "mlp.experts.#.down_proj",
};

/** In llama.cpp all layers have experts. */
const ALL_SPARSE = { decoder_sparse_step: [1], mlp_only_layers: [[]] };

const EXPERT_SIZE: FurtherKey = {
  key: "expert_feed_forward_length",
  config: ["moe_intermediate_size"],
  as: "uint32",
};

const GLM = {
  ...KIN,
  biases: QKV,
  rope: { ...KIN.rope, share: "partial_rotary_factor" },
  defaults: {
    rms_norm_eps: 1.5625e-7,
    max_position_embeddings: 131072,
    head_dim: 128,
    intermediate_size: 13696,
    partial_rotary_factor: 0.5,
  },
  own: { config: ({ tensors }) => ({ attention_bias: tensors.has("blk.0.attn_q.bias") }) },
} satisfies Partial<GgufArchitecture>;

/** Of one name in a file, the one that it is read as comes first. */
export const LLAMAS: readonly GgufArchitecture[] = [
  llama,
  {
    ...llama,
    modelType: "mistral",
    className: "MistralForCausalLM",
    biases: [],
    // A config.json without the key means the published window.
    defaults: { ...KIN.defaults, sliding_window: 4096 },
  },
  mixtral,
  {
    ...QWEN,
    name: "qwen2",
    modelType: "qwen2",
    className: "Qwen2ForCausalLM",
    isOf: isDense,
    biases: QKV,
    defaults: { ...QWEN.defaults, max_window_layers: 28 },
  },
  {
    ...QWEN,
    name: "qwen2moe",
    modelType: "qwen2_moe",
    className: "Qwen2MoeForCausalLM",
    blockNames: {
      ...ATTENTION,
      ...NORMS,
      ...QWEN_EXPERTS,
      ffn_gate_inp_shexp: "mlp.shared_expert_gate",
      ffn_gate_shexp: "mlp.shared_expert.gate_proj",
      ffn_up_shexp: "mlp.shared_expert.up_proj",
      ffn_down_shexp: "mlp.shared_expert.down_proj",
    },
    biases: QKV,
    flat: ["ffn_gate_inp_shexp"],
    needsOutput: true,
    defaults: {
      ...QWEN.defaults,
      num_experts: 60,
      num_experts_per_tok: 4,
      norm_topk_prob: false,
    },
    fixed: { ...KIN.fixed, ...ALL_SPARSE, norm_topk_prob: [false] },
    headsFillHidden: true,
    further: [
      ...routing(["num_experts", "num_local_experts"]),
      EXPERT_SIZE,
      {
        key: "expert_shared_feed_forward_length",
        config: ["shared_expert_intermediate_size"],
        as: "uint32",
      },
    ],
    own: {
      config: ({ tensors }) => ({
        use_sliding_window: false,
        qkv_bias: tensors.has("blk.0.attn_q.bias"),
      }),
    },
  },
  {
    ...QWEN,
    name: "qwen3",
    modelType: "qwen3",
    className: "Qwen3ForCausalLM",
    isOf: isDense,
    blockNames: { ...KIN.blockNames, ...HEAD_NORMS },
    defaults: { ...QWEN.defaults, head_dim: 128, max_window_layers: 28 },
    fixed: { ...KIN.fixed, attention_bias: [false] },
  },
  {
    ...QWEN,
    name: "qwen3moe",
    modelType: "qwen3_moe",
    className: "Qwen3MoeForCausalLM",
    blockNames: { ...ATTENTION, ...NORMS, ...HEAD_NORMS, ...QWEN_EXPERTS },
    defaults: {
      ...QWEN.defaults,
      num_experts: 128,
      num_experts_per_tok: 8,
      norm_topk_prob: false,
    },
    fixed: {
      ...KIN.fixed,
      ...ALL_SPARSE,
      attention_bias: [false],
      norm_topk_prob: [true],
    },
    further: [...routing(["num_experts", "num_local_experts"]), EXPERT_SIZE],
  },
  {
    ...KIN,
    name: "olmo2",
    modelType: "olmo2",
    className: "Olmo2ForCausalLM",
    blockNames: {
      ...ATTENTION,
      ...HEAD_NORMS,
      ...DENSE,
      post_attention_norm: "post_attention_layernorm",
      post_ffw_norm: "post_feedforward_layernorm",
    },
    defaults: { ...KIN.defaults, rms_norm_eps: 1e-5 },
    fixed: { ...KIN.fixed, attention_bias: [false] },
    needsOutput: true,
    headsFillHidden: true,
  },
  {
    ...KIN,
    name: "phi3",
    modelType: "phi3",
    className: "Phi3ForCausalLM",
    blockNames: {
      ...NORMS,
      attn_qkv: "self_attn.qkv_proj",
      attn_output: "self_attn.o_proj",
      ...FUSED_DENSE,
    },
    rope: { theta: "rope_theta", share: "partial_rotary_factor", scalings: ["longrope"] },
    defaults: { rms_norm_eps: 1e-5, max_position_embeddings: 4096, partial_rotary_factor: 1 },
    headsFillHidden: true,
    // llama.cpp's converter writes the window, which llama.cpp passes over.
    own: {
      entries: ({ sliding_window: window }) => [
        ["attention.sliding_window", { uint32: Number(window ?? 0) }],
      ],
      config: ({ optional }) => ({ sliding_window: optional("attention.sliding_window") || null }),
    },
  },
  {
    ...GLM,
    name: "chatglm",
    modelType: "glm",
    className: "GlmForCausalLM",
    isOf: ({ tensors }) => tensors.has("blk.0.attn_q.weight"),
    blockNames: { ...ATTENTION, ...NORMS, ...FUSED_DENSE },
    headsFillHidden: true,
  },
  {
    ...GLM,
    name: "glm4",
    modelType: "glm4",
    className: "Glm4ForCausalLM",
    blockNames: {
      ...ATTENTION,
      ...NORMS,
      ...FUSED_DENSE,
      post_attention_norm: "post_self_attn_layernorm",
      post_ffw_norm: "post_mlp_layernorm",
    },
  },
];
