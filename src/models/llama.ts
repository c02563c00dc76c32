// LLaMA (Touvron et al. 2023) and the many checkpoints that use its architecture. Reference:
// Transformers' `modeling_llama`.

import { type AttentionProjection, llamaLike, readLlamaLike } from "./llama-like.ts";
import { type DenseConfig, denseSwiglu } from "./swiglu.ts";

const ALL: readonly AttentionProjection[] = ["q_proj", "k_proj", "v_proj", "o_proj"];

interface LlamaConfig extends DenseConfig {
  readonly attentionBias: boolean;
}

export const llama = llamaLike<LlamaConfig>({
  modelType: "llama",
  readConfig(reader) {
    reader.only("pretraining_tp", 1);
    return {
      ...readLlamaLike(reader, {
        normEpsilon: 1e-6,
        keyValueHeads: "heads",
        maximumPositions: 2048,
      }),
      intermediateSize: reader.integer("intermediate_size"),
      attentionBias: reader.boolean("attention_bias", false),
      mlpBias: reader.boolean("mlp_bias", false),
    };
  },
  biasedProjections: ({ attentionBias }) => (attentionBias ? ALL : []),
  feedForward: denseSwiglu,
});
