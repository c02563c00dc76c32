// `adapter_config.json`, PEFT's description of an adapter: read with its rules for unknown and missing
// keys, written as `json.dumps(indent=2, sort_keys=True)` would.

import { join } from "node:path";
import { z } from "zod";
import { type Fault, TunesmithError } from "../errors.ts";
import { writeFileAtomically } from "./atomic-file.ts";
import { type JsonObject, readJsonObject } from "./json-file.ts";

/** The release whose files these are; PEFT writes its own version into the same key. */
export const PEFT_VERSION = "0.21.2";

const names = z.array(z.string());
/** What tunesmith passes through for PEFT without acting on it. */
const foreign = z.json().default(null);

/** LoRA's keys with PEFT's defaults, all of which PEFT writes. */
export const loraConfigSchema = z.object({
  alora_invocation_tokens: foreign,
  alpha_pattern: z.record(z.string(), z.number()).default({}),
  arrow_config: foreign,
  auto_mapping: foreign,
  base_model_name_or_path: z.string().nullable().default(null),
  bias: z.enum(["none", "all", "lora_only"]).default("none"),
  corda_config: foreign,
  ensure_weight_tying: z.boolean().default(false),
  eva_config: foreign,
  exclude_modules: z.union([names, z.string()]).nullable().default(null),
  fan_in_fan_out: z.boolean().default(false),
  inference_mode: z.boolean().default(false),
  init_lora_weights: z.union([z.boolean(), z.string()]).default(true),
  kasa_config: foreign,
  layer_replication: foreign,
  layers_pattern: z.union([names, z.string()]).nullable().default(null),
  layers_to_transform: z
    .union([z.array(z.int().nonnegative()), z.int().nonnegative()])
    .nullable()
    .default(null),
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
  peft_version: z.string().default(PEFT_VERSION),
  qalora_group_size: z.int().default(16),
  r: z.int().positive().default(8),
  rank_pattern: z.record(z.string(), z.int().positive()).default({}),
  revision: z.string().nullable().default(null),
  target_modules: z.union([names, z.string()]).nullable().default(null),
  target_parameters: names.nullable().default(null),
  task_type: z.string().nullable().default(null),
  trainable_token_indices: foreign,
  use_bdlora: foreign,
  use_dora: z.boolean().default(false),
  use_qalora: z.boolean().default(false),
  use_rslora: z.boolean().default(false),
  velora_config: foreign,
});

export type LoraConfig = z.output<typeof loraConfigSchema>;

export interface ReadPeftConfig {
  readonly config: LoraConfig;
  /** Keys of a newer PEFT that nobody here knows; PEFT, too, drops such keys with a warning. */
  readonly unknownKeys: readonly string[];
}

const FILE_NAME = "adapter_config.json";

/** PEFT writes these as floats, `0.0` where JavaScript would write `0`. */
const FLOAT_KEYS = new Set(["lora_dropout"]);

/** Fills a partial configuration with PEFT's defaults. Throws a TunesmithError with every fault. */
export function loraConfig(partial: z.input<typeof loraConfigSchema>): LoraConfig {
  return parseLora(partial, "LoRA configuration");
}

/** Reads an adapter folder's configuration. Throws a TunesmithError ("checkpoint") with every fault. */
export async function readPeftConfig(folder: string): Promise<ReadPeftConfig> {
  const path = join(folder, FILE_NAME);
  const value = await readJsonObject(path);
  const fault = (rule: string, seen: string, fix: string) =>
    new TunesmithError("checkpoint", { where: path, rule, seen, fix });
  if (!value)
    throw fault(
      `an adapter is a folder with ${FILE_NAME} and adapter_model.safetensors`,
      "no such file",
      "name the folder that the adapter was saved to",
    );
  if (value.peft_type !== "LORA")
    throw fault(
      'adapters that can be read have peft_type "LORA"',
      value.peft_type === undefined ? "no peft_type" : JSON.stringify(value.peft_type),
      "use a LoRA adapter that PEFT or tunesmith saved",
    );
  const known = loraConfigSchema.shape;
  const unknownKeys = Object.keys(value).filter((key) => !Object.hasOwn(known, key));
  return { config: parseLora(value, path), unknownKeys };
}

function parseLora(value: unknown, where: string): LoraConfig {
  const result = loraConfigSchema.safeParse(value);
  if (result.success) return result.data;
  const faults: Fault[] = result.error.issues.map((issue) => ({
    where: `${where} (${issue.path.join(".")})`,
    rule: "the key must have a value that PEFT allows",
    seen: issue.message,
    fix: "correct the value, or leave the key out for its default",
  }));
  throw new TunesmithError("checkpoint", faults);
}

/** Writes an adapter folder's configuration, marked as PEFT marks saved ones (`inference_mode`). */
export async function writePeftConfig(folder: string, config: LoraConfig): Promise<void> {
  const text = pythonJson({ ...config, inference_mode: true });
  await writeFileAtomically(join(folder, FILE_NAME), text);
}

/** JSON as Python writes it with `indent=2, sort_keys=True`: keys sorted, other than ASCII escaped. */
export function pythonJson(value: JsonObject): string {
  return serialize(value, "", "").replace(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function serialize(value: unknown, indent: string, key: string): string {
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    const items = value.map((item) => inner + serialize(item, inner, ""));
    return `[\n${items.join(",\n")}\n${indent}]`;
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    if (entries.length === 0) return "{}";
    const items = entries.map(
      ([name, item]) => `${inner}${JSON.stringify(name)}: ${serialize(item, inner, name)}`,
    );
    return `{\n${items.join(",\n")}\n${indent}}`;
  }
  if (FLOAT_KEYS.has(key) && Number.isInteger(value)) return `${value}.0`;
  return JSON.stringify(value);
}
