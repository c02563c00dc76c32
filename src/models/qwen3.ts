// Qwen3 (Yang et al. 2025): LLaMA whose queries and keys are normed head by head. Reference:
// Transformers' `modeling_qwen3`.

import { llamaLike, readLlamaLike } from "./llama-like.ts";
import { refuseWindows } from "./sliding-window.ts";
import { type DenseConfig, denseSwiglu } from "./swiglu.ts";

interface Qwen3Config extends DenseConfig {
  readonly attentionBias: boolean;
}

export const qwen3 = llamaLike<Qwen3Config>({
  modelType: "qwen3",
  usualTargets: { scaledOutputs: ["q_proj", "v_proj"] },
  readConfig(reader) {
    const config = {
      ...readLlamaLike(reader, { normEpsilon: 1e-6, headSize: 128 }),
      intermediateSize: reader.integer("intermediate_size"),
      attentionBias: reader.boolean("attention_bias", false),
    };
    refuseWindows(reader, reader.number("max_window_layers", 28) >= config.layers);
    return config;
  },
  biasedProjections: ({ attentionBias }) =>
    attentionBias ? ["q_proj", "k_proj", "v_proj", "o_proj"] : [],
  normsHeads: true,
  feedForward: denseSwiglu,
});
