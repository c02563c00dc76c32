// The start of a config whose heads share the hidden size among them, as GPT-2's descendants have it.

import type { ConfigReader } from "./config-reader.ts";

interface HeadKeys<Value> {
  readonly hiddenSize: Value;
  readonly heads: Value;
}

const USUAL_KEYS: HeadKeys<string> = { hiddenSize: "hidden_size", heads: "num_attention_heads" };

/** Sizes by their keys; a fault where the heads do not divide the hidden size. */
export function readHeads(
  reader: ConfigReader,
  fallback: HeadKeys<number>,
  keys: HeadKeys<string> = USUAL_KEYS,
): HeadKeys<number> & { readonly headSize: number } {
  const hiddenSize = reader.integer(keys.hiddenSize, fallback.hiddenSize);
  const heads = reader.integer(keys.heads, fallback.heads);
  if (hiddenSize % heads !== 0) reader.fault(keys.heads, `must divide ${keys.hiddenSize}`);
  return { hiddenSize, heads, headSize: hiddenSize / heads };
}
