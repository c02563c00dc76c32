// The architectures that both a GGUF file and a Hugging Face folder have names for, and those names.
// Names of ggml's side: llama.cpp's `gguf-py/gguf/constants.py`.

import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../json-file.ts";

export interface GgufArchitecture {
  /** `general.architecture`, which keys of the metadata begin with. */
  readonly name: string;
  /** In `config.json`. */
  readonly modelType: string;
  readonly className: string;
  /** Whether llama.cpp's rotary embedding pairs neighbours, so that rows of q and k change places. */
  readonly isInterleaved: boolean;
  /** Whether every feed-forward is a choice of experts. */
  readonly hasExperts: boolean;
  /** Tensors of a block beside those that all have. */
  readonly furtherTensors: readonly string[];
  /** Names of a block's tensors. Default: `BLOCK_NAMES`. */
  readonly names?: Readonly<Record<string, string>>;
  /** What the file has added to the weights of norms. Default 0. */
  readonly normOffset?: number;
  /** The keys of `config.json` that not all have, where they need more than a look at the tensors. */
  config?(numbers: MetadataNumbers): JsonObject;
}

/** Numbers of the metadata, by their keys behind the architecture's name. */
export interface MetadataNumbers {
  /** @throws TunesmithError (checkpoint) for what is not a number */
  optional(name: string): number | undefined;
  /** @throws TunesmithError (checkpoint) for what is not a whole number above 0 */
  dimension(name: string): number;
}

const PROJECTIONS = ["attn_q", "attn_k", "attn_v", "attn_output"];
const biases = (parts: readonly string[]) => parts.map((part) => `${part}.bias`);

const llama: GgufArchitecture = {
  name: "llama",
  modelType: "llama",
  className: "LlamaForCausalLM",
  isInterleaved: true,
  hasExperts: false,
  furtherTensors: biases([...PROJECTIONS, "ffn_gate", "ffn_up", "ffn_down"]),
};

/** Where one name of ggml's serves several models, the one that it is read as comes first. */
export const GGUF_ARCHITECTURES: readonly GgufArchitecture[] = [
  llama,
  { ...llama, modelType: "mistral", className: "MistralForCausalLM", furtherTensors: [] },
  {
    ...llama,
    modelType: "mixtral",
    className: "MixtralForCausalLM",
    hasExperts: true,
    furtherTensors: [],
  },
  {
    name: "qwen2",
    modelType: "qwen2",
    className: "Qwen2ForCausalLM",
    isInterleaved: false,
    hasExperts: false,
    furtherTensors: biases(["attn_q", "attn_k", "attn_v"]),
  },
  {
    name: "qwen3",
    modelType: "qwen3",
    className: "Qwen3ForCausalLM",
    isInterleaved: false,
    hasExperts: false,
    furtherTensors: ["attn_q_norm.weight", "attn_k_norm.weight"],
  },
];

/** @throws TunesmithError (checkpoint) for a model that has no names here */
export function ggufArchitecture({ model_type: type }: JsonObject, where: string) {
  const found = GGUF_ARCHITECTURES.find(({ modelType }) => modelType === type);
  if (found) return found;
  throw new TunesmithError("checkpoint", {
    where: `${where}: model_type`,
    rule: `models that become GGUF are ${GGUF_ARCHITECTURES.map((one) => one.modelType).join(", ")}`,
    seen: JSON.stringify(type) ?? "no such key",
    fix: "merge into a model folder, and convert that with llama.cpp's convert_hf_to_gguf.py",
  });
}

const TOP_NAMES: Readonly<Record<string, string>> = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  output: "lm_head",
};

const ATTENTION_NAMES: Readonly<Record<string, string>> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
  ffn_norm: "post_attention_layernorm",
};

/** Of a dense block with a norm in front of each half. */
export const BLOCK_NAMES: Readonly<Record<string, string>> = {
  ...ATTENTION_NAMES,
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

const EXPERT_NAMES: Readonly<Record<string, string>> = {
  ...ATTENTION_NAMES,
  ffn_gate_inp: "block_sparse_moe.gate",
  ffn_gate_exps: "block_sparse_moe.experts.#.w1",
  ffn_down_exps: "block_sparse_moe.experts.#.w2",
  ffn_up_exps: "block_sparse_moe.experts.#.w3",
};

const namesOf = ({ hasExperts, names }: GgufArchitecture, layer: string | undefined) => {
  if (layer === undefined) return TOP_NAMES;
  return names ?? (hasExperts ? EXPERT_NAMES : BLOCK_NAMES);
};

/** Whether llama.cpp reads a tensor of a block: weights of all, and what is the architecture's own. */
function isKnown(part: string, kind: string, { furtherTensors }: GgufArchitecture): boolean {
  const isCommon = kind === "weight" && !part.endsWith("_q_norm") && !part.endsWith("_k_norm");
  return isCommon || furtherTensors.includes(`${part}.${kind}`);
}

/**
 * `blk.0.attn_q.weight` → `model.layers.0.self_attn.q_proj.weight`; with `#` for the number of an
 * expert where a tensor holds all of them; undefined for what the architecture does not have.
 */
export function huggingFaceName(name: string, architecture: GgufArchitecture): string | undefined {
  const match = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name);
  if (!match) return undefined;
  const [, layer, part, kind] = match;
  const table = namesOf(architecture, layer);
  if (!Object.hasOwn(table, part!) || !isKnown(part!, kind!, architecture)) return undefined;
  const prefix = layer === undefined ? "" : `model.layers.${Number(layer)}.`;
  return `${prefix}${table[part!]}.${kind}`;
}

/** Where a tensor of a checkpoint lies in a GGUF file. */
export interface GgufPlace {
  readonly name: string;
  /** Which slice of it, where one tensor holds those of all experts. */
  readonly expert?: number;
}

/** The way back: `model.layers.0.self_attn.q_proj.weight` → `blk.0.attn_q.weight`. */
export function ggufPlace(name: string, architecture: GgufArchitecture): GgufPlace | undefined {
  const match = /^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name);
  if (!match) return undefined;
  const [, layer, path, kind] = match;
  const expert = /\.experts\.(\d+)\./.exec(path!)?.[1];
  const general = path!.replace(/\.experts\.\d+\./, ".experts.#.");
  const table = Object.entries(namesOf(architecture, layer));
  const part = table.find(([, known]) => known === general)?.[0];
  if (part === undefined || !isKnown(part, kind!, architecture)) return undefined;
  return {
    name: layer === undefined ? `${part}.${kind}` : `blk.${layer}.${part}.${kind}`,
    ...(expert !== undefined && { expert: Number(expert) }),
  };
}

/**
 * Heads whose rows llama.cpp's converter interleaves for q and k (its rotary embedding pairs
 * neighbours; Hugging Face's pairs the halves of a head); undefined for every other tensor.
 */
export function interleavedHeads(
  ggufName: string,
  { isInterleaved }: GgufArchitecture,
  config: JsonObject,
): number | undefined {
  if (!isInterleaved) return undefined;
  const heads = config.num_attention_heads as number;
  if (/\.attn_q\.(weight|bias)$/.test(ggufName)) return heads;
  if (/\.attn_k\.(weight|bias)$/.test(ggufName))
    return (config.num_key_value_heads as number | null | undefined) ?? heads;
  return undefined;
}

/** The row of the Hugging Face tensor that row `row` of the interleaved one belongs to. */
export function deinterleavedRow(row: number, headDimension: number): number {
  const within = row % headDimension;
  return row - within + (within % 2) * (headDimension / 2) + (within >> 1);
}
