// LoRA's options to and from PEFT's `adapter_config.json`.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import type { ModelDescription } from "../method.ts";
import {
  commonKeys,
  foreign,
  layerNumbers,
  modules,
  names,
  parsePeftConfig,
} from "../peft-config.ts";
import { taskType } from "../trained-head.ts";
import { evaConfig } from "./eva-options.ts";
import type { CompleteLora, LoraOptions } from "./lora-options.ts";

const tokenIds = z.array(z.int().nonnegative());

/** LoRA's keys with PEFT's defaults, all of which PEFT writes. */
export const loraConfigSchema = z.object({
  ...commonKeys,
  alora_invocation_tokens: foreign,
  alpha_pattern: z.record(z.string(), z.number()).default({}),
  arrow_config: foreign,
  bias: z.enum(["none", "all", "lora_only"]).default("none"),
  corda_config: foreign,
  ensure_weight_tying: z.boolean().default(false),
  eva_config: foreign,
  exclude_modules: modules,
  fan_in_fan_out: z.boolean().default(false),
  init_lora_weights: z.union([z.boolean(), z.string()]).default(true),
  kasa_config: foreign,
  layer_replication: foreign,
  layers_pattern: modules,
  layers_to_transform: layerNumbers,
  loftq_config: z.record(z.string(), z.json()).nullable().default({}),
  lora_alpha: z.number().default(8),
  lora_bias: z.boolean().default(false),
  lora_dropout: z.number().min(0).max(1).default(0),
  lora_ga_config: foreign,
  megatron_config: foreign,
  megatron_core: z.string().nullable().default("megatron.core"),
  modules_to_save: names.nullable().default(null),
  monteclora_config: foreign,
  peft_type: z.literal("LORA").default("LORA"),
  qalora_group_size: z.int().default(16),
  r: z.int().positive().default(8),
  rank_pattern: z.record(z.string(), z.int().positive()).default({}),
  target_modules: modules,
  // PEFT writes an empty list for mixtures of experts whose experts it leaves alone.
  target_parameters: names
    .nullable()
    .default(null)
    .transform((list) => (list?.length === 0 ? null : list)),
  trainable_token_indices: z
    .union([tokenIds, z.record(z.string(), tokenIds)])
    .nullable()
    .default(null),
  use_bdlora: foreign,
  use_dora: z.boolean().default(false),
  use_qalora: z.boolean().default(false),
  use_rslora: z.boolean().default(false),
  velora_config: foreign,
});

export type LoraConfig = z.output<typeof loraConfigSchema>;

/** Fills a partial configuration with PEFT's defaults. Throws a TunesmithError with every fault. */
export const loraConfig = (partial: z.input<typeof loraConfigSchema>): LoraConfig =>
  parsePeftConfig(loraConfigSchema, partial, "LoRA configuration");

/** What PEFT writes for these options. `all-linear` is resolved to the names it stands for. */
export function toPeftConfig(
  options: CompleteLora,
  model: Pick<ModelDescription, "source" | "classifier">,
  adaptedNames: readonly string[],
  isStoredTransposed = false,
): LoraConfig {
  const { targets, exclude, modulesToSave, layersToTransform, trainableTokens } = options;
  const listed = (value: string | readonly string[]) =>
    typeof value === "string" ? value : [...value];
  return loraConfig({
    task_type: taskType(model),
    base_model_name_or_path: model.source,
    fan_in_fan_out: isStoredTransposed,
    r: options.rank,
    lora_alpha: options.alpha,
    lora_dropout: options.dropout,
    target_modules: targets === "all-linear" ? [...adaptedNames] : listed(targets),
    exclude_modules: exclude === undefined ? null : listed(exclude),
    rank_pattern: options.rankPattern,
    alpha_pattern: options.alphaPattern,
    use_rslora: options.rslora,
    bias: options.bias,
    modules_to_save: modulesToSave.length > 0 ? [...modulesToSave] : null,
    layers_to_transform: layersToTransform ? [...layersToTransform] : null,
    // What quantisation took is added to a base that was quantised alike; PEFT would quantise it itself.
    init_lora_weights: options.init === "loftq" ? true : options.init,
    ...(options.init === "eva" && { eva_config: evaConfig(options) }),
    use_dora: options.dora,
    lora_bias: options.loraBias,
    trainable_token_indices: trainableTokens
      ? (structuredClone(trainableTokens) as LoraConfig["trainable_token_indices"])
      : null,
  });
}

/** Keys that change what an adapter computes and that tunesmith does not implement (yet). */
const UNSUPPORTED = [
  "alora_invocation_tokens",
  "arrow_config",
  "kasa_config",
  "layer_replication",
  "target_parameters",
  "use_bdlora",
  "use_qalora",
] as const satisfies readonly (keyof LoraConfig)[];

/**
 * The options an adapter was made with.
 * @throws TunesmithError (checkpoint) for settings whose math is not implemented
 */
export function fromLoraConfig(json: JsonObject, folder: string): LoraOptions {
  const config = parsePeftConfig(loraConfigSchema, json, `${folder}/adapter_config.json`);
  const faults = UNSUPPORTED.filter((key) => config[key] !== null && config[key] !== false).map(
    (key) => ({
      where: `${folder}/adapter_config.json: ${key}`,
      rule: "a setting that changes what the adapter computes must be supported",
      seen: JSON.stringify(config[key]),
      fix: "merge the adapter into its base with PEFT and load the merged model",
    }),
  );
  const init = config.init_lora_weights;
  // "pissa" and "olora" took a part out of the base that the base alone determines; it is taken out
  // again, as PEFT does. What data or chance had a part in cannot be found again.
  const partOfBase = init === "pissa" || init === "olora";
  if (
    typeof init === "string" &&
    !partOfBase &&
    !["gaussian", "orthogonal", "eva", "mica"].includes(init)
  )
    faults.push({
      where: `${folder}/adapter_config.json: init_lora_weights`,
      rule: "an adapter must fit the base model as it was published",
      seen: `${JSON.stringify(init)}, which changes the base weights`,
      fix: "save it in PEFT with path_initial_model_for_weight_conversion",
    });
  const outer = [config.target_modules ?? [], config.modules_to_save ?? []].flat();
  if (config.ensure_weight_tying && outer.some((name) => /(embed_tokens|lm_head)$/.test(name)))
    faults.push({
      where: `${folder}/adapter_config.json: ensure_weight_tying`,
      rule: "embedding and output module are adapted apart from each other",
      seen: "true",
      fix: "merge the adapter into its base with PEFT and load the merged model",
    });
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults);
  const layers = config.layers_to_transform;
  return {
    name: "lora",
    rank: config.r,
    alpha: config.lora_alpha,
    targets: config.target_modules ?? undefined,
    exclude: config.exclude_modules ?? undefined,
    rankPattern: config.rank_pattern,
    alphaPattern: config.alpha_pattern,
    rslora: config.use_rslora,
    dropout: config.lora_dropout,
    bias: config.bias,
    modulesToSave: config.modules_to_save ?? [],
    layersToTransform: typeof layers === "number" ? [layers] : (layers ?? undefined),
    dora: config.use_dora,
    loraBias: config.lora_bias,
    ...(config.trainable_token_indices && { trainableTokens: config.trainable_token_indices }),
    ...(partOfBase || init === "mica" ? { init } : {}),
  };
}
