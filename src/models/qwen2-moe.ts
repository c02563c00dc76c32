// Qwen1.5-MoE and Qwen2-MoE (Yang et al. 2024): Qwen2 with experts beside one that every row has.
// Reference: Transformers' `modeling_qwen2_moe`.

import { QKV_PROJECTIONS, readLlamaLike } from "./llama-config.ts";
import { llamaLike } from "./llama-like.ts";
import { qwenBalancing, qwenExperts, readQwenExperts } from "./qwen-experts.ts";
import { readQwenWindows } from "./sliding-window.ts";

export const qwen2Moe = llamaLike({
  modelType: "qwen2_moe",
  covers: "Qwen1.5 and Qwen2 with experts, one of them shared",
  readConfig(reader) {
    const config = readLlamaLike(reader, { normEpsilon: 1e-6 });
    const windowed = reader.number("max_window_layers", 28);
    return {
      ...config,
      // Every other one of the first layers.
      ...readQwenWindows(reader, config.layers, (layer) =>
        layer % 2 === 0 && layer < windowed ? "local" : "global",
      ),
      ...readQwenExperts(reader, { experts: 60, topK: 4 }),
      sharedSize: reader.integer("shared_expert_intermediate_size"),
      biasedProjections: reader.boolean("qkv_bias", true) ? QKV_PROJECTIONS : [],
    };
  },
  feedForward: qwenExperts,
  auxiliaryLoss: qwenBalancing,
});
