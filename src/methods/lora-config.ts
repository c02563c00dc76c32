// LoRA's options to and from PEFT's `adapter_config.json`.

import { TunesmithError } from "../errors.ts";
import { type LoraConfig, loraConfig } from "../hub/index.ts";
import type { LoraOptions } from "./lora-options.ts";

/** What PEFT writes for these options. `all-linear` is resolved to the names it stands for. */
export function toPeftConfig(
  options: Required<Omit<LoraOptions, "exclude" | "layersToTransform">> & LoraOptions,
  source: string,
  adaptedNames: readonly string[],
): LoraConfig {
  const { targets, exclude, modulesToSave, layersToTransform } = options;
  const names = (value: string | readonly string[]) =>
    typeof value === "string" ? value : [...value];
  return loraConfig({
    task_type: "CAUSAL_LM",
    base_model_name_or_path: source,
    r: options.rank,
    lora_alpha: options.alpha,
    lora_dropout: options.dropout,
    target_modules: targets === "all-linear" ? [...adaptedNames] : names(targets),
    exclude_modules: exclude === undefined ? null : names(exclude),
    rank_pattern: options.rankPattern,
    alpha_pattern: options.alphaPattern,
    use_rslora: options.rslora,
    bias: options.bias,
    modules_to_save: modulesToSave.length > 0 ? [...modulesToSave] : null,
    layers_to_transform: layersToTransform ? [...layersToTransform] : null,
    init_lora_weights: options.init,
  });
}

/** Keys that change what an adapter computes and that tunesmith does not implement (yet). */
const UNSUPPORTED = [
  "alora_invocation_tokens",
  "arrow_config",
  "kasa_config",
  "layer_replication",
  "lora_bias",
  "target_parameters",
  "trainable_token_indices",
  "use_bdlora",
  "use_dora",
  "use_qalora",
] as const satisfies readonly (keyof LoraConfig)[];

/**
 * The options an adapter was made with.
 * @throws TunesmithError (checkpoint) for settings whose math is not implemented
 */
export function fromPeftConfig(config: LoraConfig, folder: string): LoraOptions {
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
  if (typeof init === "string" && !partOfBase && !["gaussian", "orthogonal", "eva"].includes(init))
    faults.push({
      where: `${folder}/adapter_config.json: init_lora_weights`,
      rule: "an adapter must fit the base model as it was published",
      seen: `${JSON.stringify(init)}, which changes the base weights`,
      fix: "save it in PEFT with path_initial_model_for_weight_conversion",
    });
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults);
  const layers = config.layers_to_transform;
  return {
    name: "lora",
    rank: config.r,
    alpha: config.lora_alpha,
    targets: config.target_modules ?? ["q_proj", "v_proj"],
    exclude: config.exclude_modules ?? undefined,
    rankPattern: config.rank_pattern,
    alphaPattern: config.alpha_pattern,
    rslora: config.use_rslora,
    dropout: config.lora_dropout,
    bias: config.bias,
    modulesToSave: config.modules_to_save ?? [],
    layersToTransform: typeof layers === "number" ? [layers] : (layers ?? undefined),
    ...(partOfBase ? { init } : {}),
  };
}
