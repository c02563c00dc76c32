// DoRA (Liu et al. 2024): LoRA that trains the lengths of the weights' rows apart from their directions.
// In PEFT it is a switch of LoRA (`use_dora`), and so is its file; here it has a name as well.

import { z } from "zod";
import type { MethodDefinition } from "../method.ts";
import { describeLora, lora } from "./lora.ts";
import { LORA_IDLE, type LoraOptions, loraSchema } from "./lora-options.ts";

/** The options of LoRA but those that DoRA excludes. */
export type DoraOptions = Omit<LoraOptions, "name" | "dora" | "loraBias"> & {
  readonly name: "dora";
};

export const dora = {
  schema: loraSchema.omit({ dora: true, loraBias: true }).extend({
    name: z
      .literal("dora")
      .describe("LoRA that trains the lengths of the weights' rows apart (Liu et al. 2024)."),
  }),
  learningRate: lora.learningRate,
  // The lengths are trained as fast as B.
  idle: LORA_IDLE.filter(({ option }) => option !== "learningRateRatio"),
  describe: (options) => describeLora("DoRA", options),
  bind: (options, model) => ({
    ...lora.bind({ ...options, name: "lora", dora: true }, model),
    name: "dora",
  }),
  fromData: {
    ...lora.fromData,
    probe: (options, model, products) =>
      lora.fromData.probe({ ...options, name: "lora" }, model, products),
  },
} satisfies MethodDefinition<DoraOptions>;
