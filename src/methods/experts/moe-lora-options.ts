// What can be said about a mixture of LoRA experts, as its recipe section and the configurations of its
// two libraries say it: TUDB-Labs' MixLoRA (sparse) and Ablustrund's LoRAMoE (dense).

import { z } from "zod";
import type { JsonObject } from "../../hub/index.ts";
import { count, moduleNames } from "../option-schema.ts";
import { fromPeftConfig, type PeftLayout } from "../peft-format.ts";

export const moeLoraSchema = z.strictObject({
  name: z
    .literal("moe-lora")
    .describe("Several LoRA experts beside each layer, and routers that choose among them."),
  routing: z
    .enum(["top-k", "dense"])
    .default("top-k")
    .describe(
      "top-k: each token's feed-forward by its best experts (MixLoRA, Li et al. 2024); dense: every layer by all of them, weighted (LoRAMoE, Dou et al. 2023).",
    ),
  experts: z.int().min(2).default(8).describe("Experts beside each layer."),
  topK: count.default(2).describe("Experts that a token is sent to, with top-k routing."),
  rank: count.default(8).describe("Rank of each expert."),
  alpha: z
    .number()
    .positive()
    .default(16)
    .describe("Strength: experts are scaled by alpha / rank."),
  targets: z
    .union([z.string(), moduleNames.min(1)])
    .default("all-linear")
    .describe(
      "Layers with experts, as names or all-linear; with top-k routing, those outside the feed-forward get a plain LoRA.",
    ),
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout in front of each expert."),
  balance: z
    .number()
    .min(0)
    .default(0.01)
    .describe("Weight of the loss that spreads tokens over the experts."),
  routerDeviation: z
    .number()
    .min(0)
    .default(0.02)
    .describe("Spread of the routers' first values, with top-k routing."),
});

export type MoeLoraOptions = z.input<typeof moeLoraSchema>;
export type MoeLoraSettings = z.output<typeof moeLoraSchema>;

const SHARED_KEYS = {
  rank: "r",
  alpha: "lora_alpha",
  targets: "target_modules",
  dropout: "lora_dropout",
} as const;

export const mixLoraLayout: PeftLayout = {
  type: "MIXLORA",
  keys: {
    ...SHARED_KEYS,
    experts: "num_experts",
    topK: "top_k",
    balance: "router_aux_loss_coef",
    routerDeviation: "router_init_range",
  },
  unused: { act_fn: null, router_loss: true },
  only: { bias: "none", jitter_noise: 0, use_dora: false, use_rslora: false },
};

export const loraMoeLayout: PeftLayout = {
  type: "LORA",
  keys: { ...SHARED_KEYS, experts: "lora_nums", balance: "blc_weight" },
  unused: { blc_alpha: 0, merge_weights: false },
  only: { bias: "none", enable_lora: null, fan_in_fan_out: false, modules_to_save: null },
};

/** What MixLoRA's library calls top-k routing; before version 0.2 it was the other name. */
const ROUTING_STRATEGIES = ["mixlora", "mixtral"];
export const [ROUTING_STRATEGY] = ROUTING_STRATEGIES;

/** @throws TunesmithError (checkpoint) for settings whose math is not implemented */
export function fromMixLoraConfig(config: JsonObject, folder: string): MoeLoraOptions {
  const { routing_strategy: strategy = ROUTING_STRATEGY!, expert_lora: own = null } = config;
  const layout: PeftLayout = {
    ...mixLoraLayout,
    only: {
      ...mixLoraLayout.only,
      routing_strategy: ROUTING_STRATEGIES.includes(String(strategy))
        ? strategy
        : ROUTING_STRATEGY!,
      expert_lora: null,
    },
  };
  const { target_modules: targets } = config;
  // Older files list projections as { q_proj: true, … }, or by the names of Mixtral's experts.
  const names = Array.isArray(targets)
    ? targets
    : Object.entries(targets ?? {}).flatMap(([name, chosen]) => (chosen ? [name] : []));
  const file = {
    ...config,
    routing_strategy: strategy,
    expert_lora: own,
    target_modules: names.map((name) => MODERN_NAMES[String(name)] ?? name),
    ...(config.router_loss === false && { router_aux_loss_coef: 0 }),
  };
  return { ...fromPeftConfig(moeLoraSchema, layout, file, folder), routing: "top-k" };
}

/** Names that MixLoRA's first files gave the feed-forward's projections. */
export const MODERN_NAMES: Readonly<Record<string, string>> = {
  w1_proj: "gate_proj",
  w2_proj: "down_proj",
  w3_proj: "up_proj",
};

/** Whether a LoRA's configuration is that of LoRAMoE's library, which has the same `peft_type`. */
export const isLoraMoe = (config: JsonObject): boolean => typeof config.lora_nums === "number";

/** @throws TunesmithError (checkpoint) for settings whose math is not implemented */
export const fromLoraMoeConfig = (config: JsonObject, folder: string): MoeLoraOptions => ({
  ...fromPeftConfig(moeLoraSchema, loraMoeLayout, config, folder),
  routing: "dense",
});
