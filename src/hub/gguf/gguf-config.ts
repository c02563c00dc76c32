// What a GGUF file says, in Hugging Face's words: config.json and the names of its tensors.

import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../json-file.ts";
import { withFloats } from "../number-spelling.ts";
import type { GgufFile, GgufTensor } from "./gguf.ts";
import {
  GGUF_ARCHITECTURES,
  type GgufArchitecture,
  huggingFaceName,
} from "./gguf-architectures.ts";
import { GEMMAS } from "./gguf-gemma.ts";

/** Factors on the rotary frequencies; they go into the configuration, not into the weights. */
export const ROPE_FACTORS = "rope_freqs.weight";

/** What Transformers has as floats. */
const FLOATS = [
  "rms_norm_eps",
  "rope_theta",
  "rope_local_base_freq",
  "attn_logit_softcapping",
  "final_logit_softcapping",
];

const READABLE: readonly GgufArchitecture[] = [...GGUF_ARCHITECTURES, ...GEMMAS];

/** By `model_type`: which models a GGUF file is read as, and which are written as one. */
export const GGUF_MODEL_TYPES = {
  read: READABLE.map(({ modelType }) => modelType),
  written: GGUF_ARCHITECTURES.map(({ modelType }) => modelType),
} as const;

/** The architecture that a file names. Throws a TunesmithError ("checkpoint") for one not known. */
export function architectureOfGguf({ path, metadata }: GgufFile): GgufArchitecture {
  const name = metadata.get("general.architecture");
  const hasExperts = Number(metadata.get(`${name}.expert_count`) ?? 0) > 0;
  const named = READABLE.filter((one) => one.name === name);
  const found = named.find((one) => one.hasExperts === hasExperts);
  if (found) return found;
  const known = [...new Set(READABLE.map((one) => `"${one.name}"`))].join(", ");
  throw new TunesmithError("checkpoint", {
    where: path,
    rule: `GGUF architectures that can be read are ${known}`,
    seen:
      named.length > 0
        ? "a mixture of experts"
        : `general.architecture ${JSON.stringify(String(name).slice(0, 80))}`,
    fix: "use a GGUF of one of these, or the model's Hugging Face folder",
  });
}

/** A tensor of a checkpoint inside a file. */
export interface StoredTensor {
  readonly tensor: GgufTensor;
  readonly shape: readonly number[];
  /** Its bytes within the file's tensor, which may hold those of several experts. */
  readonly from: number;
  readonly byteLength: number;
}

/**
 * The file's tensors under their Hugging Face names. Throws for a tensor that the architecture does not
 * have: leaving it out would silently compute another model.
 */
export function storedTensors(
  file: GgufFile,
  architecture: GgufArchitecture,
): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  for (const tensor of file.tensors.values()) {
    if (tensor.name === ROPE_FACTORS) continue;
    const name = huggingFaceName(tensor.name, architecture);
    if (name === undefined)
      throw new TunesmithError("checkpoint", {
        where: file.path,
        rule: `tensors of architecture "${architecture.name}" are those of a ${architecture.modelType} model`,
        seen: `the tensor "${tensor.name.slice(0, 120)}"`,
        fix: "use a model of this architecture as it was published",
      });
    if (!name.includes("#")) {
      tensors.set(name, { tensor, shape: tensor.shape, from: 0, byteLength: tensor.byteLength });
      continue;
    }
    const [experts, ...shape] = tensor.shape;
    const byteLength = tensor.byteLength / experts!;
    for (let expert = 0; expert < experts!; expert++)
      tensors.set(name.replace("#", String(expert)), {
        tensor,
        shape,
        from: expert * byteLength,
        byteLength,
      });
  }
  return tensors;
}

/** The `config.json` that a GGUF stands for. `ropeFactors`: its tensor `rope_freqs.weight`, if any. */
export function configOfGguf(
  file: GgufFile,
  architecture: GgufArchitecture,
  ropeFactors?: Float32Array,
): JsonObject {
  const { metadata, tensors, path } = file;
  const fault = (rule: string, seen: string, fix = "convert the model again with llama.cpp") =>
    new TunesmithError("checkpoint", { where: path, rule, seen, fix });
  if (Number(metadata.get("split.count") ?? 0) > 1)
    throw fault(
      "the model is one GGUF file",
      "one part of several",
      "join the parts with llama.cpp: llama-gguf-split --merge FIRST-PART OUT.gguf",
    );
  const optional = (name: string): number | undefined => {
    const key = name.startsWith("tokenizer.") ? name : `${architecture.name}.${name}`;
    const value = metadata.get(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw fault(`${key} is a number`, JSON.stringify(value, (_, v) => String(v)).slice(0, 80));
  };
  const dimension = (name: string): number => {
    const value = optional(name);
    if (value !== undefined && Number.isInteger(value) && value > 0) return value;
    throw fault(
      `${architecture.name}.${name} is a whole number above 0`,
      value === undefined ? "no such key" : `${value}`,
    );
  };
  const embedding = tensors.get("token_embd.weight");
  if (embedding?.shape.length !== 2) throw fault("the model has token_embd.weight", "none");

  const heads = dimension("attention.head_count");
  const hidden = dimension("embedding_length");
  const keyValueHeads = metadata.has(`${architecture.name}.attention.head_count_kv`)
    ? dimension("attention.head_count_kv")
    : heads;
  const headDimension =
    optional("attention.key_length") ?? optional("rope.dimension_count") ?? hidden / heads;
  if (!Number.isInteger(headDimension) || headDimension % 2 !== 0)
    throw fault("a head has an even number of dimensions", String(headDimension));
  const context = dimension("context_length");
  const theta = optional("rope.freq_base") ?? 10000;
  const scaling = ropeFactors
    ? llama3Scaling(ropeFactors, theta, headDimension, fault)
    : ropeScaling(optional, metadata.get(`${architecture.name}.rope.scaling.type`), context, fault);
  const eps = optional("attention.layer_norm_rms_epsilon") ?? 1e-5;
  const tokenId = (name: string) => optional(`tokenizer.ggml.${name}_token_id`) ?? null;
  const config = {
    architectures: [architecture.className],
    model_type: architecture.modelType,
    vocab_size: embedding.shape[0]!,
    hidden_size: hidden,
    intermediate_size: dimension("feed_forward_length"),
    num_hidden_layers: dimension("block_count"),
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    head_dim: headDimension,
    hidden_act: "silu",
    max_position_embeddings: context,
    // A float32 in the file: the shortest decimal that is the same float32, so 1e-5 reads as 1e-5.
    rms_norm_eps: shortestFloat32(eps),
    rope_theta: theta,
    rope_scaling: scaling ?? null,
    ...(architecture.config?.({ optional, dimension }) ??
      furtherConfig(file, architecture, dimension)),
    tie_word_embeddings: !tensors.has("output.weight"),
    bos_token_id: tokenId("bos"),
    eos_token_id: tokenId("eos"),
    pad_token_id: tokenId("padding"),
  };
  return withFloats(config, FLOATS);
}

/** The keys that not all architectures have. */
function furtherConfig(
  { tensors }: GgufFile,
  { modelType }: GgufArchitecture,
  dimension: (key: string) => number,
): JsonObject {
  if (modelType === "llama")
    return {
      attention_bias: tensors.has("blk.0.attn_q.bias"),
      mlp_bias: tensors.has("blk.0.ffn_up.bias"),
    };
  if (modelType === "mixtral")
    return {
      num_local_experts: dimension("expert_count"),
      num_experts_per_tok: dimension("expert_used_count"),
      sliding_window: null,
    };
  return { attention_bias: false, use_sliding_window: false };
}

type MakeFault = (rule: string, seen: string, fix?: string) => TunesmithError;

function ropeScaling(
  optional: (key: string) => number | undefined,
  type: unknown,
  context: number,
  fault: MakeFault,
): JsonObject | undefined {
  const factor = optional("rope.scaling.factor") ?? optional("rope.scale_linear");
  const kind = type ?? (factor !== undefined ? "linear" : "none");
  if (kind === "none" || factor === undefined || factor === 0 || factor === 1) return undefined;
  if (kind === "linear") return { rope_type: "linear", factor };
  if (kind === "yarn") {
    const original = optional("rope.scaling.original_context_length");
    return {
      rope_type: "yarn",
      factor,
      original_max_position_embeddings: original ?? Math.round(context / factor),
      beta_fast: optional("rope.scaling.yarn_beta_fast") ?? 32,
      beta_slow: optional("rope.scaling.yarn_beta_slow") ?? 1,
    };
  }
  throw fault(
    'rope.scaling.type is "none", "linear" or "yarn"',
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
