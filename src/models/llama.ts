// LLaMA (Touvron et al. 2023) and the many checkpoints that use its architecture. Reference:
// Transformers' `modeling_llama`.

import type { ConfigReader } from "./config-reader.ts";
import { readAttentionBias, readLlamaLike } from "./llama-config.ts";
import { llamaLike } from "./llama-like.ts";
import { type DenseConfig, denseSwiglu } from "./swiglu.ts";

/** What config.json says of a LLaMA. Faults are the reader's. */
export function readLlama(reader: ConfigReader): DenseConfig {
  reader.only("pretraining_tp", 1);
  return {
    ...readLlamaLike(reader, {
      normEpsilon: 1e-6,
      keyValueHeads: "heads",
      maximumPositions: 2048,
    }),
    intermediateSize: reader.integer("intermediate_size"),
    ...readAttentionBias(reader),
    mlpBias: reader.boolean("mlp_bias", false),
  };
}

export const llama = llamaLike({
  modelType: "llama",
  covers: "LLaMA 1 to 3, SmolLM, Yi and the many others that use it",
  readConfig: readLlama,
  feedForward: denseSwiglu,
});
