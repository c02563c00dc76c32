// Qwen3-MoE (Yang et al. 2025): Qwen3 with experts. Reference: Transformers' `modeling_qwen3_moe`.

import { readAttentionBias, readLlamaLike } from "./llama-config.ts";
import { llamaLike } from "./llama-like.ts";
import { qwenBalancing, qwenExperts, readQwenExperts } from "./qwen-experts.ts";
import { readQwenWindows } from "./sliding-window.ts";

export const qwen3Moe = llamaLike({
  modelType: "qwen3_moe",
  covers: "Qwen3 with experts",
  readConfig(reader) {
    const config = readLlamaLike(reader, { normEpsilon: 1e-6 });
    return {
      ...config,
      ...readQwenWindows(reader, config.layers),
      ...readQwenExperts(reader, { experts: 128, topK: 8 }),
      ...readAttentionBias(reader),
    };
  },
  queryKeyNorms: "heads",
  feedForward: qwenExperts,
  auxiliaryLoss: qwenBalancing,
});
