// Qwen3 (Yang et al. 2025): LLaMA whose queries and keys are normed head by head. Reference:
// Transformers' `modeling_qwen3`.

import { readAttentionBias, readLlamaLike } from "./llama-config.ts";
import { llamaLike } from "./llama-like.ts";
import { readUpperWindows } from "./sliding-window.ts";
import { denseSwiglu } from "./swiglu.ts";

export const qwen3 = llamaLike({
  modelType: "qwen3",
  covers: "Qwen3",
  usualTargets: { scaledOutputs: ["q_proj", "v_proj"] },
  readConfig(reader) {
    const config = readLlamaLike(reader, { normEpsilon: 1e-6, headSize: 128 });
    return {
      ...config,
      ...readUpperWindows(reader, config.layers),
      intermediateSize: reader.integer("intermediate_size"),
      ...readAttentionBias(reader),
    };
  },
  queryKeyNorms: "heads",
  feedForward: denseSwiglu,
});
