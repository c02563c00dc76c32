// The text model of Gemma 3 (Gemma Team 2025): Gemma 2 with normed queries and keys, and with a rotary
// embedding of their own for the layers that have a window, five of six. Reference: Transformers'
// `modeling_gemma3`, which caps no scores, whatever the config says.

import type { ConfigReader } from "./config-reader.ts";
import {
  GEMMA_NORMS,
  readAttentionScale,
  readCap,
  readGemma,
  readGemmaActivation,
} from "./gemma-config.ts";
import { llamaLike } from "./llama-like.ts";
import { readRopeByReach } from "./rope-config.ts";
import { readLayerWindows } from "./sliding-window.ts";
import { denseSwiglu } from "./swiglu.ts";

function readRopes(reader: ConfigReader, headSize: number, positions: number) {
  const thetas = { global: 1e6, local: 1e4 };
  const { global, local } = readRopeByReach(reader, headSize, positions, thetas);
  return { rope: global, localRope: local };
}

export const gemma3 = llamaLike({
  modelType: "gemma3_text",
  covers: "Gemma 3, text alone",
  usualTargets: { scaledOutputs: ["q_proj", "v_proj"] },
  readConfig(reader) {
    const config = readGemma(reader, {
      activation: readGemmaActivation,
      rope: readRopes,
    });
    reader.only("attn_logit_softcapping", null);
    const pattern = reader.integer("sliding_window_pattern", 6);
    const logitCap = readCap(reader, "final_logit_softcapping");
    return {
      ...config,
      ...readLayerWindows(reader, config.layers, (layer) =>
        (layer + 1) % pattern === 0 ? "global" : "local",
      ),
      attentionScale: readAttentionScale(reader),
      ...(logitCap !== undefined && { logitCap }),
    };
  },
  norms: GEMMA_NORMS,
  normOffset: 1,
  queryKeyNorms: "heads",
  feedForward: denseSwiglu,
});
