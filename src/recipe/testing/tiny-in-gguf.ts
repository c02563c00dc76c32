// The tiny models as llama.cpp can have them: where a parity case has a setting that it does not compute, that
// setting is another one here.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TinyModel, tinyModelFolder } from "../../engine/testing/tiny-models.ts";
import { openCheckpoint } from "../../hub/index.ts";
import { writeSafetensors } from "../../hub/safetensors/safetensors-writer.ts";
import { sizeOf } from "../../tensor/index.ts";
import { writeTinyModel } from "./tiny-model.ts";

interface Change {
  /** Another model, or the folder of a parity case. Default: the model of that name. */
  readonly of?: TinyModel | `${string}/${string}`;
  readonly config?: object;
  /** Tensors that the other setting has not. */
  readonly without?: RegExp;
}

const CASES = join(import.meta.dirname, "../../../tests/parity/cases");

const GEMMA3_ROPES = {
  full_attention: { rope_type: "linear", factor: 4, rope_theta: 10000 },
  sliding_attention: { rope_type: "default", rope_theta: 100 },
};

/** By name; every architecture that there is in GGUF is among them. */
export const IN_GGUF = {
  base: {},
  "untied-head": {},
  biases: {},
  "head-dim": {},
  "mistral-window": {},
  mixtral: {},
  qwen2: {},
  qwen3: {},
  "qwen2-moe": {},
  "qwen2-moe-unbiased": {
    of: "qwen2-moe",
    config: { qkv_bias: false },
    without: /_proj\.bias$/,
  },
  "qwen3-moe": {},
  "qwen3-moe-windowless": { of: "qwen3-moe", config: { use_sliding_window: false } },
  olmo2: {},
  "olmo2-linear": {
    of: "olmo2",
    config: { rope_parameters: { rope_type: "linear", factor: 4, rope_theta: 5000 } },
  },
  "olmo2-yarn": {
    of: "olmo2",
    config: {
      rope_parameters: {
        rope_type: "yarn",
        factor: 4,
        original_max_position_embeddings: 16,
        rope_theta: 10000,
      },
    },
  },
  phi3: { config: { sliding_window: null } },
  "phi3-short": {
    of: "phi3",
    config: {
      sliding_window: null,
      max_position_embeddings: 4096,
      original_max_position_embeddings: 1024,
    },
  },
  "phi3-plain": {
    of: "phi3",
    config: {
      sliding_window: null,
      rope_parameters: { rope_type: "default", rope_theta: 10000, partial_rotary_factor: 0.5 },
    },
  },
  gemma: {},
  gemma2: { config: { query_pre_attn_scalar: 12 } },
  "gemma3-text": { config: { query_pre_attn_scalar: 12, rope_parameters: GEMMA3_ROPES } },
  glm: {},
  glm4: {},
  chatglm: {},
  "chatglm-ratio": { of: "chatglm", config: { rope_ratio: 50, _name_or_path: "chatglm3-6b-32k" } },
  "chatglm-interpolated": {
    of: "chatglm",
    config: { rope_ratio: 4, _name_or_path: "chatglm2-6b-32k" },
  },
  "chatglm-ungrouped": {
    of: "glm/chatglm-biases",
    config: { add_bias_linear: false, add_qkv_bias: false },
    without: /\.bias$/,
  },
  gpt2: {},
  "gpt-neox": {},
  "gpt-neox-sequential": { of: "gpt-neox", config: { use_parallel_residual: false } },
  "gpt-neox-tied": {
    of: "gpt-neox",
    config: { tie_word_embeddings: true },
    without: /^embed_out/,
  },
  falcon: {},
  "falcon-one-norm": {
    of: "gpt/falcon-one-norm",
    config: { bias: false },
    without: /(query_key_value|dense\w*)\.bias$/,
  },
  "falcon-multi-query": {},
  phi: { config: { qk_layernorm: false }, without: /\.[qk]_layernorm\./ },
} as const satisfies Record<string, Change>;

export type InGguf = keyof typeof IN_GGUF;

/** Writes the model to `folder`. */
export async function tinyInGguf(folder: string, name: InGguf): Promise<string> {
  const { of = name as TinyModel, config, without }: Change = IN_GGUF[name];
  const source = of.includes("/") ? join(CASES, of, "model") : tinyModelFolder(of as TinyModel);
  await writeTinyModel(folder, source);
  const path = join(folder, "config.json");
  const own = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify({ ...own, ...config }));
  if (without) await dropTensors(folder, without);
  return folder;
}

async function dropTensors(folder: string, without: RegExp): Promise<void> {
  const checkpoint = await openCheckpoint(folder);
  const kept = [];
  for (const [name, { shape }] of checkpoint.tensors) {
    if (without.test(name)) continue;
    const data = new Float32Array(sizeOf(shape));
    await checkpoint.readFloat32Into(name, data);
    kept.push({ name, shape, dtype: "F32" as const, data });
  }
  await checkpoint.close();
  await writeSafetensors(join(folder, "model.safetensors"), kept);
}
