// The Gemmas as GGUF files say them: the weights of norms have 1 added, and llama.cpp knows some of a model by
// its size.

import type { JsonObject } from "../json-file.ts";
import { isJsonObject } from "../json-file.ts";
import type { Entries, GgufArchitecture, GgufFacts, Sizes } from "./gguf-architecture.ts";
import { ATTENTION, DENSE, HEAD_NORMS, KIN, NORMS } from "./gguf-llamas.ts";

type Refuse = (key: string, rule: string) => void;

/** Norms around both halves of a block. */
const AROUND_HALVES = {
  ...ATTENTION,
  ...DENSE,
  attn_norm: "input_layernorm",
  post_attention_norm: "post_attention_layernorm",
  ffn_norm: "pre_feedforward_layernorm",
  post_ffw_norm: "post_feedforward_layernorm",
};

const TANH_GELU = "gelu_pytorch_tanh";

/** What scores are divided by the root of: a head's size, but for the model of 27 billion weights. */
const attentionScalar = ({ layers, hidden, heads, headSize }: Sizes, layersOfLargest: number) =>
  layers === layersOfLargest ? hidden / heads : headSize;

/**
 * Of how many layers one looks far, the last of them.
 * @param usual where the config names no layers
 */
function windowPeriod({ layer_types: types, ...config }: JsonObject, usual: number): number {
  if (Array.isArray(types)) {
    const first = types.indexOf("full_attention");
    return first < 0 ? types.length + 1 : first + 1;
  }
  return Number(config.sliding_window_pattern ?? usual);
}

function windowEntries(
  config: JsonObject,
  sizes: Sizes,
  usual: { readonly period: number; readonly layersOfLargest: number },
  refuse: Refuse,
): Entries {
  const { sliding_window: window = 4096, query_pre_attn_scalar: scalar = 256 } = config;
  const period = windowPeriod(config, usual.period);
  const types = Array.isArray(config.layer_types) ? config.layer_types : [];
  if (types.some((type, i) => (type === "full_attention") !== ((i + 1) % period === 0)))
    refuse("layer_types", `in llama.cpp one layer of every ${period} looks far`);
  if (window === null || period === 1)
    refuse("sliding_window", "in llama.cpp some layers look back over a window");
  const expected = attentionScalar(sizes, usual.layersOfLargest);
  if (scalar !== expected)
    refuse("query_pre_attn_scalar", `llama.cpp takes ${expected} for a model of this size`);
  return [
    ["attention.sliding_window", { uint32: Number(window) }],
    ["attention.sliding_window_pattern", { uint32: period }],
  ];
}

/** The way back; `period` of a file that names none. */
function windowConfig(
  { optional, dimension }: GgufFacts,
  sizes: Sizes,
  usual: { readonly period: number; readonly layersOfLargest: number },
): JsonObject {
  const period = optional("attention.sliding_window_pattern") ?? usual.period;
  return {
    hidden_act: null,
    query_pre_attn_scalar: attentionScalar(sizes, usual.layersOfLargest),
    sliding_window: dimension("attention.sliding_window"),
    layer_types: Array.from({ length: sizes.layers }, (_, i) =>
      (i + 1) % period === 0 ? "full_attention" : "sliding_attention",
    ),
  };
}

const SECOND = { period: 2, layersOfLargest: 46 };
const THIRD = { period: 6, layersOfLargest: 62 };

const gemma: GgufArchitecture = {
  ...KIN,
  name: "gemma",
  modelType: "gemma",
  className: "GemmaForCausalLM",
  normOffset: 1,
  blockNames: { ...ATTENTION, ...NORMS, ...DENSE },
  defaults: { ...KIN.defaults, head_dim: 256, tie_word_embeddings: true },
  // The first files say "gelu" and mean its form with tanh.
  fixed: {
    hidden_act: [TANH_GELU, "gelu"],
    hidden_activation: [TANH_GELU],
    attention_bias: [false],
    tie_word_embeddings: [true],
  },
};

const WITH_WINDOWS = {
  hidden_activation: [TANH_GELU],
  attention_bias: [false],
  tie_word_embeddings: [true],
};

export const GEMMAS: readonly GgufArchitecture[] = [
  gemma,
  {
    ...gemma,
    name: "gemma2",
    modelType: "gemma2",
    className: "Gemma2ForCausalLM",
    blockNames: AROUND_HALVES,
    defaults: { ...gemma.defaults, attn_logit_softcapping: 50, final_logit_softcapping: 30 },
    fixed: WITH_WINDOWS,
    hasWindows: true,
    further: ["attn_logit_softcapping", "final_logit_softcapping"].map((key, i) => ({
      key,
      config: [key],
      as: "float32",
      absent: [50, 30][i]!,
    })),
    own: {
      entries(config, sizes, refuse) {
        for (const key of ["attn_logit_softcapping", "final_logit_softcapping"])
          if (config[key] === null) refuse(key, "llama.cpp always caps");
        return windowEntries(config, sizes, SECOND, refuse);
      },
      config: (facts, sizes) => windowConfig(facts, sizes, SECOND),
    },
  },
  {
    ...gemma,
    name: "gemma3",
    modelType: "gemma3_text",
    className: "Gemma3ForCausalLM",
    blockNames: { ...AROUND_HALVES, ...HEAD_NORMS },
    rope: { theta: "rope_theta", section: "full_attention", scalings: ["linear"] },
    defaults: { ...gemma.defaults, rope_theta: 1e6 },
    fixed: { ...WITH_WINDOWS, final_logit_softcapping: [null], attn_logit_softcapping: [null] },
    hasWindows: true,
    own: {
      entries(config, sizes, refuse) {
        const sections = isJsonObject(config.rope_parameters) ? config.rope_parameters : {};
        const local = isJsonObject(sections.sliding_attention) ? sections.sliding_attention : {};
        if ((local.rope_type ?? "default") !== "default")
          refuse("rope_parameters", "llama.cpp scales no positions within a window");
        const theta = Number(local.rope_theta ?? config.rope_local_base_freq ?? 1e4);
        return [
          ...windowEntries(config, sizes, THIRD, refuse),
          ["rope.freq_base_swa", { float32: theta }],
        ];
      },
      config: (facts, sizes) => ({
        ...windowConfig(facts, sizes, THIRD),
        rope_local_base_freq: facts.optional("rope.freq_base_swa") ?? 10000,
      }),
    },
  },
];
