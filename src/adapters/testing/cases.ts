// The pairs of adapters that PEFT merged, and small LoRAs of random numbers.

import { join } from "node:path";
import { readAdapter } from "../../hub/index.ts";
import { createRandom } from "../../runtime/random.ts";
import { type LoraModule, type PlainLora, readPlainLora } from "../plain-lora.ts";

export const MERGE_CASES = join(import.meta.dirname, "../../../tests/parity/cases/merge");

export async function storedLora(pair: string, index: number): Promise<PlainLora> {
  const folder = join(MERGE_CASES, pair, `adapter-${index}`);
  return readPlainLora(await readAdapter(folder), folder);
}

/** A module of random matrices. */
export function randomModule(
  seed: number,
  { rank = 2, inputSize = 6, outputSize = 5, scaling = 1 } = {},
): LoraModule {
  const random = createRandom(seed);
  const draw = (size: number) => Float32Array.from({ length: size }, () => random.normal());
  const [a, b] = [draw(rank * inputSize), draw(outputSize * rank)];
  return { a, b, rank, inputSize, outputSize, scaling };
}

/** A LoRA of one module. */
export const randomLora = (seed: number, settings = {}): PlainLora => ({
  source: `adapter ${seed}`,
  base: "base",
  task: "CAUSAL_LM",
  targets: ["q_proj"],
  modules: new Map([["model.layers.0.self_attn.q_proj", randomModule(seed, settings)]]),
});
