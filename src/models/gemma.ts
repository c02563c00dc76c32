// Gemma (Gemma Team 2024): LLaMA with scaled embeddings, norms around 1 and a GELU gate. Reference:
// Transformers' `modeling_gemma`.

import type { ActivationName } from "./activations.ts";
import type { ConfigReader } from "./config-reader.ts";
import { readGemma } from "./gemma-config.ts";
import { llamaLike } from "./llama-like.ts";
import { denseSwiglu } from "./swiglu.ts";

/** The first files say "gelu" and mean its tanh form, as Transformers reads them. */
function readActivation(reader: ConfigReader): ActivationName {
  reader.choice("hidden_act", ["gelu_pytorch_tanh", "gelu"], "gelu_pytorch_tanh");
  reader.only("hidden_activation", "gelu_pytorch_tanh");
  return "gelu_pytorch_tanh";
}

export const gemma = llamaLike({
  modelType: "gemma",
  covers: "Gemma",
  usualTargets: { scaledOutputs: ["q_proj", "v_proj"] },
  readConfig: (reader) => readGemma(reader, { activation: readActivation }),
  normOffset: 1,
  feedForward: denseSwiglu,
});
