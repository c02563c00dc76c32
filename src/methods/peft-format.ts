// A method's options to and from PEFT's `adapter_config.json`, by a table of which option is which key.
// Values are checked by the schema of the options, so every key has one description of what it allows.

import type { z } from "zod";
import { type Fault, TunesmithError } from "../errors.ts";
import { type JsonObject, PEFT_VERSION } from "../hub/index.ts";
import type { ModelDescription } from "./method.ts";
import { isStoredTransposed, type LinearModule } from "./targets.ts";
import { taskType } from "./trained-head.ts";

/** How PEFT's configuration of a method is made up. */
export interface PeftLayout {
  /** `peft_type`. */
  readonly type: string;
  /** The configuration's key for each option. */
  readonly keys: Readonly<Record<string, string>>;
  /** Keys that PEFT writes and that change nothing here: how they are written, any value is read. */
  readonly unused?: JsonObject;
  /** Keys with the one value whose math is implemented; adapters with another are refused. */
  readonly only?: JsonObject;
}

/** The keys of the options in `adaptedModuleKeys`. */
export const PEFT_MODULE_KEYS = {
  targets: "target_modules",
  exclude: "exclude_modules",
  layersToTransform: "layers_to_transform",
  modulesToSave: "modules_to_save",
} as const;

/** The options that say which modules are adapted; the file says it by paths where it lacks one. */
const SELECTING = ["exclude", "layersToTransform"];

type Options = Readonly<Record<string, unknown>>;

const isEmptyList = (value: unknown) => Array.isArray(value) && value.length === 0;

/** What PEFT writes for `options`, which are complete. `all-linear` becomes the names it stands for. */
export function toPeftConfig(
  { type, keys, unused, only }: PeftLayout,
  options: Options,
  model: ModelDescription,
  adapted: readonly LinearModule[],
): JsonObject {
  const config: Record<string, unknown> = {
    auto_mapping: null,
    base_model_name_or_path: model.source,
    inference_mode: false,
    peft_type: type,
    peft_version: PEFT_VERSION,
    revision: null,
    task_type: taskType(model),
    ...unused,
    ...only,
  };
  for (const [option, key] of Object.entries(keys)) {
    const value = options[option];
    config[key] = value === undefined || isEmptyList(value) ? null : value;
  }
  if ("fan_in_fan_out" in config) config.fan_in_fan_out = isStoredTransposed(adapted);
  const isSelecting = (option: string) => options[option] && !isEmptyList(options[option]);
  const paths = adapted.map(({ path }) => path);
  if (SELECTING.some((option) => !(option in keys) && isSelecting(option)))
    config.target_modules = paths;
  else if (options.targets === "all-linear")
    config.target_modules = [...new Set(paths.map((path) => path.split(".").at(-1)!))];
  return config as JsonObject;
}

/**
 * The options that an adapter was made with.
 * @throws TunesmithError (checkpoint) for values that the method does not allow or implement
 */
export function fromPeftConfig<Schema extends z.ZodObject>(
  schema: Schema,
  { keys, only = {} }: PeftLayout,
  config: JsonObject,
  folder: string,
): z.input<Schema> {
  const file = `${folder}/adapter_config.json`;
  const options: Record<string, unknown> = { name: schema.shape.name.value };
  for (const [option, key] of Object.entries(keys)) {
    const value = config[key];
    if (value === undefined || value === null) continue;
    options[option] = option === "layersToTransform" && typeof value === "number" ? [value] : value;
  }
  const faults: Fault[] = Object.entries(only)
    .filter(([key, value]) => (config[key] ?? value) !== value)
    .map(([key, value]) => ({
      where: `${file}: ${key}`,
      rule: "a setting that changes what the adapter computes must be supported",
      seen: `${JSON.stringify(config[key])} instead of ${JSON.stringify(value)}`,
      fix: "merge the adapter into its base with PEFT and load the merged model",
    }));
  const result = schema.safeParse(options);
  if (!result.success)
    faults.push(
      ...result.error.issues.map(({ path, message }) => ({
        where: `${file}: ${keys[String(path[0])] ?? path.join(".")}`,
        rule: "the key must have a value that PEFT allows",
        seen: message,
        fix: "correct the value, or leave the key out for its default",
      })),
    );
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults);
  return options as z.input<Schema>;
}

/** `MethodDefinition.peft` of a method whose table says all there is to say. */
export const peftKind = <Schema extends z.ZodObject>(schema: Schema, layout: PeftLayout) => ({
  type: layout.type,
  options: (config: JsonObject, folder: string) => fromPeftConfig(schema, layout, config, folder),
});

/** A configuration without those of `keys` that are 0, by which PEFT says that they are not given. */
export function withoutZeros(config: JsonObject, keys: readonly string[]): JsonObject {
  return Object.fromEntries(
    Object.entries(config).filter(([key, value]) => !(keys.includes(key) && value === 0)),
  );
}
