// Gemma 2 (Gemma Team 2024): Gemma with norms around both halves, capped scores and logits, and a
// window in every other layer. Reference: Transformers' `modeling_gemma2`.

import {
  GEMMA_NORMS,
  readAttentionScale,
  readCap,
  readGemma,
  readGemmaActivation,
} from "./gemma-config.ts";
import { llamaLike } from "./llama-like.ts";
import { readLayerWindows } from "./sliding-window.ts";
import { denseSwiglu } from "./swiglu.ts";

export const gemma2 = llamaLike({
  modelType: "gemma2",
  covers: "Gemma 2",
  usualTargets: { scaledOutputs: ["q_proj", "v_proj"] },
  readConfig(reader) {
    const config = readGemma(reader, { activation: readGemmaActivation });
    const scoreCap = readCap(reader, "attn_logit_softcapping", 50);
    const logitCap = readCap(reader, "final_logit_softcapping", 30);
    return {
      ...config,
      ...readLayerWindows(reader, config.layers, (layer) => (layer % 2 === 0 ? "local" : "global")),
      attentionScale: readAttentionScale(reader),
      ...(scoreCap !== undefined && { scoreCap }),
      ...(logitCap !== undefined && { logitCap }),
    };
  },
  norms: GEMMA_NORMS,
  normOffset: 1,
  feedForward: denseSwiglu,
});
