// Mistral (Jiang et al. 2023): LLaMA whose positions look back over a window, where it has one.
// Reference: Transformers' `modeling_mistral`.

import { readLlamaLike } from "./llama-config.ts";
import { llamaLike } from "./llama-like.ts";
import { readWindow } from "./sliding-window.ts";
import { denseSwiglu } from "./swiglu.ts";

export const mistral = llamaLike({
  modelType: "mistral",
  covers: "Mistral, with or without a sliding window",
  readConfig: (reader) => ({
    ...readLlamaLike(reader, { normEpsilon: 1e-6 }),
    // The published default, which a config.json without the key means.
    ...readWindow(reader, 4096),
    intermediateSize: reader.integer("intermediate_size"),
  }),
  feedForward: denseSwiglu,
});
