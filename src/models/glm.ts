// GLM-4 as Transformers has it, and GLM-4-0414 (Team GLM 2024): LLaMA with half of each head rotated in
// pairs of neighbours and gate and up in one matrix; the later one norms what both halves give as well.
// References: Transformers' `modeling_glm` and `modeling_glm4`. The repository's own format is `chatglm`.

import type { ConfigReader } from "./config-reader.ts";
import { QKV_PROJECTIONS, readLlamaLike } from "./llama-config.ts";
import { llamaLike } from "./llama-like.ts";
import { type DenseConfig, fusedSwiglu } from "./swiglu.ts";

const VARIANT = {
  readConfig(reader: ConfigReader): DenseConfig {
    return {
      ...readLlamaLike(reader, {
        normEpsilon: 1.5625e-7,
        headSize: 128,
        maximumPositions: 131072,
        rope: { share: 0.5 },
      }),
      intermediateSize: reader.integer("intermediate_size", 13696),
      biasedProjections: reader.boolean("attention_bias", true) ? QKV_PROJECTIONS : [],
    };
  },
  rotatesNeighbours: true,
  feedForward: fusedSwiglu,
} as const;

export const glm = llamaLike({
  ...VARIANT,
  modelType: "glm",
  covers: "GLM-4, as Transformers has it",
});

export const glm4 = llamaLike({
  ...VARIANT,
  modelType: "glm4",
  covers: "GLM-4-0414",
  norms: {
    attention: { before: "input_layernorm", after: "post_self_attn_layernorm" },
    feedForward: { before: "post_attention_layernorm", after: "post_mlp_layernorm" },
  },
});
