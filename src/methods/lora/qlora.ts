// QLoRA (Dettmers et al. 2023): LoRA beside frozen weights of 4 bits. The quantisation is the model's own
// affair (`model.quantization`); this method is LoRA that asks for it, on every linear layer.

import { z } from "zod";
import type { MethodDefinition } from "../method.ts";
import { lora } from "./lora.ts";
import { LORA_IDLE, type LoraOptions, loraSchema } from "./lora-options.ts";

/** The options of LoRA. */
export type QloraOptions = Omit<LoraOptions, "name"> & { readonly name: "qlora" };

const asLora = ({ targets = "all-linear", ...options }: QloraOptions): LoraOptions => ({
  ...options,
  targets,
  name: "lora",
});

export const qlora = {
  schema: loraSchema.extend({
    name: z
      .literal("qlora")
      .describe(
        "LoRA beside weights kept in 4 bits (Dettmers et al. 2023); see model.quantization.",
      ),
  }),
  learningRate: lora.learningRate,
  quantization: { type: "nf4", doubleQuantization: true, blockSize: 64 },
  idle: LORA_IDLE,
  describe: (options) => `Q${lora.describe(asLora(options))}`,
  bind: (options, model) => ({ ...lora.bind(asLora(options), model), name: "qlora" }),
  fromData: {
    ...lora.fromData,
    probe: (options, model, products) => lora.fromData.probe(asLora(options), model, products),
  },
} satisfies MethodDefinition<QloraOptions>;
