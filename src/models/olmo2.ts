// OLMo 2 (OLMo Team 2024): LLaMA whose norms stand behind each half of a block, and on all queries and all
// keys of a position as one row. Reference: Transformers' `modeling_olmo2`.

import { readAttentionBias, readLlamaLike } from "./llama-config.ts";
import { llamaLike } from "./llama-like.ts";
import { denseSwiglu } from "./swiglu.ts";

export const olmo2 = llamaLike({
  modelType: "olmo2",
  covers: "OLMo 2",
  readConfig: (reader) => ({
    ...readLlamaLike(reader, {
      normEpsilon: 1e-5,
      keyValueHeads: "heads",
      maximumPositions: 2048,
    }),
    ...readAttentionBias(reader),
    intermediateSize: reader.integer("intermediate_size"),
  }),
  norms: {
    attention: { after: "post_attention_layernorm" },
    feedForward: { after: "post_feedforward_layernorm" },
  },
  queryKeyNorms: "rows",
  feedForward: denseSwiglu,
});
