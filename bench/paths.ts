// Where the benchmarks find what they need and leave what they found.

import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..");

/** SmolLM2-135M-Instruct as a folder of float32 weights (docs/benchmarks.md says how it gets there). */
export const MODEL_FOLDER = join(ROOT, ".cache", "smollm2", "hf");
/** The same model as the GGUF file that it was made of. */
export const GGUF_FILE = join(ROOT, ".cache", "smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf");
/** Where node-llama-cpp is installed, a peer of generation. */
export const LLAMA_CPP_FOLDER = join(ROOT, ".cache", "llama-cpp");
/** Python with the peers' libraries, unless `--python` names another. */
export const PYTHON =
  process.platform === "win32"
    ? join(ROOT, ".venv", "Scripts", "python.exe")
    : join(ROOT, ".venv", "bin", "python");
/** Measurements of a run that was broken off. */
export const PROGRESS_FOLDER = join(ROOT, ".cache", "bench");
export const RESULTS_FOLDER = join(ROOT, "bench", "results");
export const README = join(ROOT, "README.md");
export const PAGE = join(ROOT, "docs", "benchmarks.md");
export const PICTURES_FOLDER = join(ROOT, "docs", "pictures");
export const PEERS_FOLDER = join(ROOT, "bench", "peers");
