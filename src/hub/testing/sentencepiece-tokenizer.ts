// The stored case's SentencePiece tokenizer, as a GGUF brings it: words begin with a space that is taken off
// the first one, other characters are bytes.

import { loadTokenizerGguf } from "../gguf/gguf-tokenizer.ts";
import type { GgufValue } from "../gguf/gguf-values.ts";
import type { Tokenizer } from "../tokenizers/tokenizer-types.ts";
import { readCase } from "./cases.ts";

export interface SentencePieceCase {
  readonly tokenizer: Tokenizer;
  readonly tokens: readonly string[];
  readonly texts: readonly { readonly text: string }[];
}

export function sentencePieceCase(): SentencePieceCase {
  const { tokens, scores, types, texts } = readCase<{
    tokens: string[];
    scores: number[];
    types: number[];
    texts: { text: string }[];
  }>("tokenizer/sentencepiece/cases.json");
  const tokenizer = loadTokenizerGguf({
    path: "test.gguf",
    metadata: new Map<string, GgufValue>(
      Object.entries({
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": Float32Array.from(scores),
        "tokenizer.ggml.token_type": Int32Array.from(types),
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
      }),
    ),
  });
  return { tokenizer, tokens, texts };
}
