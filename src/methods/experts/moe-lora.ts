// Mixtures of LoRA experts, trained together with their routers: sparse ones (MixLoRA) and dense ones
// (LoRAMoE).

import { shownTargets } from "../adapted-modules.ts";
import type { MethodDefinition } from "../method.ts";
import { completeOptions } from "../option-schema.ts";
import { bindLoraMoe } from "./lora-moe.ts";
import { bindMixLora } from "./mix-lora.ts";
import {
  fromMixLoraConfig,
  loraMoeLayout,
  type MoeLoraOptions,
  mixLoraLayout,
  moeLoraSchema,
} from "./moe-lora-options.ts";

export const moeLora = {
  schema: moeLoraSchema,
  learningRate: 2e-4,
  describe: ({ routing = "top-k", experts = 8, topK = 2, rank = 8, targets }) =>
    `${routing === "dense" ? `LoRAMoE, ${experts} experts` : `MixLoRA, ${topK} of ${experts} experts`} of rank ${rank} on ${shownTargets(targets)}`,
  idle: (["topK", "routerDeviation"] as const).map((option) => ({
    option,
    isIdle: ({ routing }) => routing === "dense",
    needs: "routing: top-k",
  })),
  bind(given, model) {
    const options = completeOptions(moeLoraSchema, given);
    return options.routing === "dense" ? bindLoraMoe(options, model) : bindMixLora(options, model);
  },
  peft: { type: mixLoraLayout.type, options: fromMixLoraConfig },
  // LoRAMoE's type is that of PEFT's LoRA, so `lora` finds its files.
  libraries: { [mixLoraLayout.type]: "MixLoRA", [loraMoeLayout.type]: "LoRAMoE" },
} satisfies MethodDefinition<MoeLoraOptions>;
