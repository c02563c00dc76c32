// The tuning methods there are, by name.

import { bindFull, type FullOptions } from "./full.ts";
import { bindLora } from "./lora.ts";
import type { LoraOptions } from "./lora-options.ts";
import type { BoundMethod, ModelDescription } from "./method.ts";

export type MethodOptions = LoraOptions | FullOptions;

type Binder<Name> = (
  options: Extract<MethodOptions, { name: Name }>,
  model: ModelDescription,
) => BoundMethod;

const methods: { [Name in MethodOptions["name"]]: Binder<Name> } = {
  lora: bindLora,
  full: bindFull,
};

export const methodNames = Object.keys(methods) as MethodOptions["name"][];

/** @throws TunesmithError (config) where the options do not fit the model */
export function bindMethod(options: MethodOptions, model: ModelDescription): BoundMethod {
  return (methods[options.name] as Binder<string>)(options as never, model);
}
