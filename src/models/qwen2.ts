// Qwen2 and Qwen2.5 (Yang et al. 2024): LLaMA with biases on queries, keys and values. Reference:
// Transformers' `modeling_qwen2`.

import { QKV_PROJECTIONS, readLlamaLike } from "./llama-config.ts";
import { llamaLike } from "./llama-like.ts";
import { readUpperWindows } from "./sliding-window.ts";
import { denseSwiglu } from "./swiglu.ts";

export const qwen2 = llamaLike({
  modelType: "qwen2",
  covers: "Qwen2 and Qwen2.5",
  usualTargets: { scaledOutputs: ["q_proj", "v_proj"] },
  readConfig(reader) {
    const config = readLlamaLike(reader, { normEpsilon: 1e-6 });
    return {
      ...config,
      ...readUpperWindows(reader, config.layers),
      biasedProjections: QKV_PROJECTIONS,
      intermediateSize: reader.integer("intermediate_size"),
    };
  },
  feedForward: denseSwiglu,
});
