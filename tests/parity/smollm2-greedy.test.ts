// SmolLM2-135M-Instruct from its GGUF; TUNESMITH_SMOLLM2 is its path.

import { testGreedy } from "./real-greedy.ts";

testGreedy({
  name: "SmolLM2",
  variable: "TUNESMITH_SMOLLM2",
  cases: "smollm2",
  withSpecialTokens: false,
});
