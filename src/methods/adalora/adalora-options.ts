// What can be said about an AdaLoRA, as its recipe section and PEFT's `AdaLoraConfig` say it.

import { z } from "zod";
import type { JsonObject } from "../../hub/index.ts";
import { adaptedModuleKeys, BIAS_MEANING } from "../adapted-modules.ts";
import { count, derived } from "../option-schema.ts";
import { fromPeftConfig, PEFT_MODULE_KEYS, type PeftLayout } from "../peft-format.ts";

const steps = z.int().min(0);
const decay = z.number().gt(0).lt(1);

export const adaloraSchema = z.strictObject({
  name: z
    .literal("adalora")
    .describe("LoRA whose ranks are shared out by importance while it trains (Zhang et al. 2023)."),
  targetRank: count.default(8).describe("Rank of each adapter at the end, on average."),
  initialRank: count.default(12).describe("Rank of each adapter at the start."),
  alpha: z
    .number()
    .positive()
    .default(8)
    .describe("Strength: adapters are scaled by alpha / initialRank."),
  ...adaptedModuleKeys,
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout in front of each adapter."),
  bias: z.enum(["none", "all", "lora_only"]).default("none").describe(BIAS_MEANING),
  initialSteps: steps
    .optional()
    .describe("Steps before the first pruning.")
    .meta(derived("a tenth of the steps")),
  finalSteps: steps
    .optional()
    .describe("Steps after the last pruning, at the ranks that are left.")
    .meta(derived("three tenths of the steps")),
  interval: count.default(1).describe("Steps from one pruning to the next."),
  totalSteps: count
    .optional()
    .describe("Steps that the plan is for.")
    .meta(derived("the run's own")),
  beta1: decay.default(0.85).describe("Decay of the running mean of importance."),
  beta2: decay.default(0.85).describe("Decay of the running mean of its uncertainty."),
  orthogonality: z
    .number()
    .min(0)
    .default(0.5)
    .describe("Weight of the loss that keeps the factors' vectors orthonormal."),
  rankPattern: z
    .record(z.string(), z.array(z.boolean()))
    .optional()
    .describe("Which ranks of which module a finished adapter has kept; nothing is pruned then.")
    .meta(derived("all, until training decides")),
});

export type AdaloraOptions = z.input<typeof adaloraSchema>;
export type AdaloraSettings = z.output<typeof adaloraSchema>;

export const adaloraLayout: PeftLayout = {
  type: "ADALORA",
  keys: {
    ...PEFT_MODULE_KEYS,
    targetRank: "target_r",
    initialRank: "init_r",
    alpha: "lora_alpha",
    dropout: "lora_dropout",
    bias: "bias",
    initialSteps: "tinit",
    finalSteps: "tfinal",
    interval: "deltaT",
    totalSteps: "total_step",
    beta1: "beta1",
    beta2: "beta2",
    orthogonality: "orth_reg_weight",
    rankPattern: "rank_pattern",
  },
  // PEFT's class is one of LoRA's and writes all of its keys.
  unused: {
    alpha_pattern: {},
    corda_config: null,
    ensure_weight_tying: false,
    eva_config: null,
    fan_in_fan_out: false,
    init_lora_weights: true,
    layers_pattern: null,
    loftq_config: {},
    lora_ga_config: null,
    megatron_config: null,
    megatron_core: "megatron.core",
    monteclora_config: null,
    qalora_group_size: 16,
    r: 8,
    use_rslora: false,
    velora_config: null,
  },
  only: {
    alora_invocation_tokens: null,
    arrow_config: null,
    kasa_config: null,
    layer_replication: null,
    lora_bias: false,
    target_parameters: null,
    trainable_token_indices: null,
    use_bdlora: null,
    use_dora: false,
    use_qalora: false,
  },
};

/** PEFT's `total_step` of an adapter that was not trained: it has to be a number. */
export const NO_PLAN = 1;

/** @throws TunesmithError (checkpoint) for settings whose math is not implemented */
export function fromAdaloraConfig(config: JsonObject, folder: string): AdaloraOptions {
  const options = fromPeftConfig(adaloraSchema, adaloraLayout, config, folder);
  if (options.totalSteps !== NO_PLAN) return options;
  const { totalSteps: _, initialSteps: __, finalSteps: ___, ...rest } = options;
  return rest;
}
