// The `adapter_config.json` of AdapterHub's library `adapters`: an envelope with the adapter's name and
// its base, around one configuration for each kind of adapter. PEFT's file of the same name has a
// `peft_type`, this one has none.

import type { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import { ADAPTERHUB_VERSION, type JsonObject } from "../../hub/index.ts";
import type { ModelDescription } from "../method.ts";

/** How a kind's configuration is made up. */
export interface HubLayout {
  /** `architecture`; bottleneck adapters have none. */
  readonly architecture?: string;
  /** The key for each option, and the library's own default. */
  readonly keys: Readonly<Record<string, readonly [key: string, fallback: unknown]>>;
  /** Keys that the library writes and that change nothing here. */
  readonly unused?: JsonObject;
  /** Keys with the one value whose math is implemented. */
  readonly only?: JsonObject;
}

/** What the library writes for complete `options`. */
export function toHubConfig(
  { architecture, keys, unused, only }: HubLayout,
  options: Readonly<Record<string, unknown>>,
): JsonObject {
  const entries = Object.entries(keys).map(([option, [key]]) => [key, options[option] ?? null]);
  return {
    ...(architecture === undefined ? {} : { architecture }),
    ...unused,
    ...only,
    ...Object.fromEntries(entries),
  };
}

/**
 * The options that a configuration stands for, all of them said; null is a key left out.
 * @throws TunesmithError (checkpoint) for values that are not allowed or not implemented
 */
export function fromHubConfig<Schema extends z.ZodObject>(
  schema: Schema,
  { keys, only = {} }: HubLayout,
  config: JsonObject,
  where: string,
): z.input<Schema> {
  const options: Record<string, unknown> = {};
  for (const [option, [key, fallback]] of Object.entries(keys)) {
    const value = config[key] ?? fallback;
    if (value !== null) options[option] = value;
  }
  const faults = Object.entries(only)
    .filter(([key, value]) => JSON.stringify(config[key] ?? value) !== JSON.stringify(value))
    .map(([key, value]) => ({
      where: `${where}: ${key}`,
      rule: "a setting that changes what the adapter computes must be supported",
      seen: `${JSON.stringify(config[key])} instead of ${JSON.stringify(value)}`,
      fix: "use an adapter without it",
    }));
  const result = schema.safeParse(options);
  for (const { path, message } of result.error?.issues ?? [])
    faults.push({
      where: `${where}: ${keys[String(path[0])]?.[0] ?? path.join(".")}`,
      rule: "the key has a value that this method implements",
      seen: message,
      fix: "correct the value, or leave the key out for its default",
    });
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults);
  return options as z.input<Schema>;
}

/** The file around a configuration. */
export function hubEnvelope(
  name: string,
  config: JsonObject,
  { modelType, dimensions, source }: ModelDescription,
): JsonObject {
  return {
    config,
    hidden_size: dimensions.hiddenSize,
    model_class: `${classPrefix(modelType)}ForCausalLM`,
    model_name: source,
    model_type: modelType,
    name,
    version: `adapters.${ADAPTERHUB_VERSION}`,
  };
}

/** Names that Python's modules have taken, or that a dot would take apart. */
const NAME = /^[A-Za-z_][\w-]*$/;

/** @throws TunesmithError (config) for a name that cannot stand in the tensors' keys */
export function checkAdapterName(name: string): void {
  if (NAME.test(name)) return;
  throw new TunesmithError("config", {
    where: "method.adapterName",
    rule: "is made of letters, digits, - and _, since it is part of each tensor's key",
    seen: JSON.stringify(name),
    fix: 'use a name such as "my-adapter"',
  });
}

/** Of Transformers' classes: `llama` to Llama, `qwen2_moe` to Qwen2Moe. */
const classPrefix = (modelType: string): string =>
  modelType
    .split("_")
    .map((part) => `${part[0]!.toUpperCase()}${part.slice(1)}`)
    .join("");
