// Which type each tensor of a model is written in. The rules are llama.cpp's: `convert_hf_to_gguf.py` and,
// for q4_k, what `llama-quantize` calls Q4_K_M.

import type { WrittenType } from "./gguf-quantize.ts";
import { GGML_TYPES } from "./gguf-types.ts";

/** What can be asked for, and `general.file_type` of it. */
export const GGUF_DTYPES = { f32: 0, f16: 1, bf16: 32, q8_0: 7, q4_k: 15 } as const;
export type GgufDtype = keyof typeof GGUF_DTYPES;

const TYPES: Readonly<Record<GgufDtype, WrittenType>> = {
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
  q8_0: "Q8_0",
  q4_k: "Q4_K",
};

/** What stands in where rows are no whole blocks. */
const FALLBACKS: Readonly<Partial<Record<WrittenType, WrittenType>>> = {
  Q4_K: "Q5_0",
  Q6_K: "Q8_0",
  Q5_0: "F16",
  Q8_0: "F16",
};

interface Named {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * @param tensor its name in the file and its shape
 * @param model how many layers there are, and the tensor that logits are made with
 */
export function typeOfTensor(
  { name, shape }: Named,
  dtype: GgufDtype,
  model: { readonly layers: number; readonly output: string },
): WrittenType {
  // Norms, biases, routers and positions: small, and llama.cpp computes with them in float32.
  if (shape.length === 1 || /ffn_gate_inp|^position_embd/.test(name)) return "F32";
  let type = dtype === "q4_k" && isFiner(name, model) ? "Q6_K" : TYPES[dtype];
  while (shape.at(-1)! % GGML_TYPES[type].blockElements !== 0) type = FALLBACKS[type]!;
  return type;
}

/** Q4_K_M: the output, and what feeds the residual stream in the outer layers and every third between. */
function isFiner(name: string, { layers, output }: { layers: number; output: string }): boolean {
  if (name === output) return true;
  const [, layer] =
    /^blk\.(\d+)\.(?:attn_v|attn_qkv|ffn_down|ffn_down_exps)\.weight$/.exec(name) ?? [];
  if (layer === undefined) return false;
  const eighth = Math.floor(layers / 8);
  const i = Number(layer);
  return i < eighth || i >= Math.floor((7 * layers) / 8) || (i - eighth) % 3 === 2;
}
