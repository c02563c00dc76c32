// Qwen2 and Qwen2.5 (Yang et al. 2024): LLaMA with biases on queries, keys and values. Reference:
// Transformers' `modeling_qwen2`.

import { llamaLike, readLlamaLike } from "./llama-like.ts";
import { refuseWindows } from "./sliding-window.ts";
import { denseSwiglu } from "./swiglu.ts";

export const qwen2 = llamaLike({
  modelType: "qwen2",
  usualTargets: { scaledOutputs: ["q_proj", "v_proj"] },
  readConfig(reader) {
    const config = {
      ...readLlamaLike(reader, { normEpsilon: 1e-6 }),
      intermediateSize: reader.integer("intermediate_size"),
    };
    refuseWindows(reader, reader.number("max_window_layers", 28) >= config.layers);
    return config;
  },
  biasedProjections: () => ["q_proj", "k_proj", "v_proj"],
  feedForward: denseSwiglu,
});
