// Phi-3, Phi-3.5 and Phi-4 (Abdin et al. 2024): LLaMA whose projections are fused, with a window, with
// LongRoPE and with a part of each head rotated where the config says so. Reference: Transformers'
// `modeling_phi3`.

import { readLlamaLike } from "./llama-config.ts";
import { llamaLike } from "./llama-like.ts";
import { fusedProjections } from "./projections.ts";
import { readWindow } from "./sliding-window.ts";
import { fusedSwiglu } from "./swiglu.ts";

export const phi3 = llamaLike({
  modelType: "phi3",
  covers: "Phi-3, Phi-3.5 and Phi-4",
  // PEFT has none for it.
  usualTargets: { attention: ["qkv_proj"], scaledOutputs: ["qkv_proj"] },
  readConfig(reader) {
    const config = readLlamaLike(reader, {
      normEpsilon: 1e-5,
      keyValueHeads: "heads",
      maximumPositions: 4096,
      rope: { share: 1 },
    });
    const { kind } = config.rope.scaling;
    const section = reader.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
    if (kind === "longrope") reader.integer("original_max_position_embeddings");
    else if (kind !== "default") reader.fault(section, 'must be of type "default" or "longrope"');
    return {
      ...config,
      ...readWindow(reader),
      intermediateSize: reader.integer("intermediate_size"),
    };
  },
  projections: fusedProjections,
  feedForward: fusedSwiglu,
});
