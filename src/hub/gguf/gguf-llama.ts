// What a GGUF of architecture "llama" says, in Hugging Face's words: config.json and tensor names.

import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../json-file.ts";
import type { GgufFile, GgufTensor } from "./gguf.ts";

const TOP_NAMES: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  output: "lm_head",
};

const LAYER_NAMES: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

/** Factors on the rotary frequencies; they go into the configuration, not into the weights. */
const ROPE_FACTORS = "rope_freqs.weight";

/** `blk.0.attn_q.weight` → `model.layers.0.self_attn.q_proj.weight`; undefined for other names. */
export function huggingFaceName(name: string): string | undefined {
  const match = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name);
  if (!match) return undefined;
  const [, layer, part, kind] = match;
  const table = layer === undefined ? TOP_NAMES : LAYER_NAMES;
  if (!Object.hasOwn(table, part!)) return undefined;
  const prefix = layer === undefined ? "" : `model.layers.${Number(layer)}.`;
  return `${prefix}${table[part!]}.${kind}`;
}

/** `model.layers.0.self_attn.q_proj.weight` → `blk.0.attn_q.weight`; undefined for other names. */
export function ggufName(name: string): string | undefined {
  const match = /^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name);
  if (!match) return undefined;
  const [, layer, path, kind] = match;
  const table = Object.entries(layer === undefined ? TOP_NAMES : LAYER_NAMES);
  const part = table.find(([, known]) => known === path)?.[0];
  if (part === undefined) return undefined;
  return layer === undefined ? `${part}.${kind}` : `blk.${layer}.${part}.${kind}`;
}

/**
 * The file's tensors under their Hugging Face names. Throws for a tensor that a LLaMA model does not
 * have: leaving it out would silently compute another model.
 */
export function llamaTensors(file: GgufFile): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  for (const tensor of file.tensors.values()) {
    if (tensor.name === ROPE_FACTORS) continue;
    const name = huggingFaceName(tensor.name);
    if (name === undefined)
      throw new TunesmithError("checkpoint", {
        where: file.path,
        rule: 'tensors of architecture "llama" are those of a dense LLaMA model',
        seen: `the tensor "${tensor.name.slice(0, 120)}"`,
        fix: "use a dense LLaMA-family model",
      });
    tensors.set(name, tensor);
  }
  return tensors;
}

/**
 * Heads whose rows llama.cpp's converter interleaves for q and k (its rotary embedding pairs
 * neighbours; Hugging Face's pairs the halves of a head); undefined for every other tensor.
 */
export function interleavedHeads(ggufName: string, config: JsonObject): number | undefined {
  if (/\.attn_q\.(weight|bias)$/.test(ggufName)) return config.num_attention_heads as number;
  if (/\.attn_k\.(weight|bias)$/.test(ggufName)) return config.num_key_value_heads as number;
  return undefined;
}

/** The row of the Hugging Face tensor that row `row` of the interleaved one belongs to. */
export function deinterleavedRow(row: number, headDimension: number): number {
  const within = row % headDimension;
  return row - within + (within % 2) * (headDimension / 2) + (within >> 1);
}

/** The `config.json` that a GGUF stands for. `ropeFactors`: its tensor `rope_freqs.weight`, if any. */
export function llamaConfig(file: GgufFile, ropeFactors?: Float32Array): JsonObject {
  const { metadata, tensors, path } = file;
  const fault = (rule: string, seen: string, fix = "convert the model again with llama.cpp") =>
    new TunesmithError("checkpoint", { where: path, rule, seen, fix });
  const architecture = metadata.get("general.architecture");
  if (architecture !== "llama")
    throw fault(
      'GGUF architectures that can be read are "llama"',
      `general.architecture ${JSON.stringify(String(architecture).slice(0, 80))}`,
      "use a LLaMA-family GGUF, or the model's Hugging Face folder",
    );
  if (Number(metadata.get("split.count") ?? 0) > 1)
    throw fault(
      "the model is one GGUF file",
      "one part of several",
      "join the parts with llama.cpp: llama-gguf-split --merge FIRST-PART OUT.gguf",
    );
  const optional = (key: string): number | undefined => {
    const value = metadata.get(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw fault(`${key} is a number`, JSON.stringify(value, (_, v) => String(v)).slice(0, 80));
  };
  const dimension = (key: string): number => {
    const value = optional(key);
    if (value !== undefined && Number.isInteger(value) && value > 0) return value;
    throw fault(
      `${key} is a whole number above 0`,
      value === undefined ? "no such key" : `${value}`,
    );
  };
  if ((optional("llama.expert_count") ?? 0) > 0)
    throw fault("the model is a dense one", "a mixture of experts", "use a dense LLaMA model");
  const embedding = tensors.get("token_embd.weight");
  if (embedding?.shape.length !== 2) throw fault("the model has token_embd.weight", "none");

  const heads = dimension("llama.attention.head_count");
  const hidden = dimension("llama.embedding_length");
  const keyValueHeads = metadata.has("llama.attention.head_count_kv")
    ? dimension("llama.attention.head_count_kv")
    : heads;
  const headDimension =
    optional("llama.attention.key_length") ??
    optional("llama.rope.dimension_count") ??
    hidden / heads;
  if (!Number.isInteger(headDimension) || headDimension % 2 !== 0)
    throw fault("a head has an even number of dimensions", String(headDimension));
  const context = dimension("llama.context_length");
  const theta = optional("llama.rope.freq_base") ?? 10000;
  const scaling = ropeFactors
    ? llama3Scaling(ropeFactors, theta, headDimension, fault)
    : ropeScaling(optional, metadata.get("llama.rope.scaling.type"), context, fault);
  const eps = optional("llama.attention.layer_norm_rms_epsilon") ?? 1e-5;
  const tokenId = (name: string) => optional(`tokenizer.ggml.${name}_token_id`) ?? null;
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: embedding.shape[0]!,
    hidden_size: hidden,
    intermediate_size: dimension("llama.feed_forward_length"),
    num_hidden_layers: dimension("llama.block_count"),
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    head_dim: headDimension,
    hidden_act: "silu",
    max_position_embeddings: context,
    // A float32 in the file: the shortest decimal that is the same float32, so 1e-5 reads as 1e-5.
    rms_norm_eps: shortestFloat32(eps),
    rope_theta: theta,
    rope_scaling: scaling ?? null,
    attention_bias: tensors.has("blk.0.attn_q.bias"),
    mlp_bias: tensors.has("blk.0.ffn_up.bias"),
    tie_word_embeddings: !tensors.has("output.weight"),
    bos_token_id: tokenId("bos"),
    eos_token_id: tokenId("eos"),
    pad_token_id: tokenId("padding"),
  };
}

type MakeFault = (rule: string, seen: string, fix?: string) => TunesmithError;

function ropeScaling(
  optional: (key: string) => number | undefined,
  type: unknown,
  context: number,
  fault: MakeFault,
): JsonObject | undefined {
  const factor = optional("llama.rope.scaling.factor") ?? optional("llama.rope.scale_linear");
  const kind = type ?? (factor !== undefined ? "linear" : "none");
  if (kind === "none" || factor === undefined || factor === 0 || factor === 1) return undefined;
  if (kind === "linear") return { rope_type: "linear", factor };
  if (kind === "yarn") {
    const original = optional("llama.rope.scaling.original_context_length");
    return {
      rope_type: "yarn",
      factor,
      original_max_position_embeddings: original ?? Math.round(context / factor),
      beta_fast: optional("llama.rope.scaling.yarn_beta_fast") ?? 32,
      beta_slow: optional("llama.rope.scaling.yarn_beta_slow") ?? 1,
    };
  }
  throw fault(
    'llama.rope.scaling.type is "none", "linear" or "yarn"',
    JSON.stringify(String(kind).slice(0, 40)),
    "use the model's Hugging Face folder",
  );
}

/**
 * Finds the "llama3" scaling behind `rope_freqs.weight`. In between the two plain bands, 1 / factor_i is
 * linear in the frequency: 1/factor + (1 - 1/factor) · (L·freq/2π - low) / (high - low). Only L/low and
 * L/high can be seen in it, so L (original_max_position_embeddings) is taken as 8192, Llama 3's.
 */
function llama3Scaling(
  factors: Float32Array,
  theta: number,
  headDimension: number,
  fault: MakeFault,
): JsonObject {
  const original = 8192;
  const factor = factors.reduce((a, b) => Math.max(a, b), 1);
  const turns = (i: number) => (original * theta ** ((-2 * i) / headDimension)) / (2 * Math.PI);
  const smooth = (i: number) => (1 / factors[i]! - 1 / factor) / (1 - 1 / factor);
  const inner = [...factors.keys()].filter((i) => smooth(i) > 1e-4 && smooth(i) < 1 - 1e-4);
  let low = 1;
  let high = 4;
  if (inner.length >= 2) {
    const first = inner[0]!;
    const last = inner.at(-1)!;
    const slope = (smooth(first) - smooth(last)) / (turns(first) - turns(last));
    low = roundTo(turns(last) - smooth(last) / slope);
    high = roundTo(low + 1 / slope);
  }
  const expected = (i: number) => {
    const s = Math.min(1, Math.max(0, (turns(i) - low) / (high - low)));
    return 1 / ((1 - s) / factor + s);
  };
  const misfit = [...factors.keys()].find((i) => !(Math.abs(expected(i) / factors[i]! - 1) < 1e-3));
  if (factors.length !== headDimension / 2 || misfit !== undefined)
    throw fault(
      `${ROPE_FACTORS} holds the factors of "llama3" scaling`,
      `${factors.length} factors that do not fit it`,
      "use the model's Hugging Face folder",
    );
  return {
    rope_type: "llama3",
    factor: shortestFloat32(factor),
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: original,
  };
}

/** Undoes float32 noise in a parameter that people write with few digits. */
function roundTo(value: number): number {
  return Math.round(value * 1000) / 1000;
}

function shortestFloat32(value: number): number {
  for (let digits = 1; digits <= 9; digits++) {
    const candidate = Number(value.toPrecision(digits));
    if (Math.fround(candidate) === Math.fround(value)) return candidate;
  }
  return value;
}
