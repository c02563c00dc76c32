// The tuning methods there are, by name. A new one is a file that exports its definition, and a row
// here.

import { nearest, TunesmithError } from "../errors.ts";
import { type Adapter, adapterLibrary, isAdapterSetup, type JsonObject } from "../hub/index.ts";
import { adalora } from "./adalora/adalora.ts";
import { adapter } from "./adapterhub/adapter.ts";
import { adapterFusion } from "./adapterhub/adapter-fusion.ts";
import { unipelt } from "./adapterhub/unipelt.ts";
import { moeLora } from "./experts/moe-lora.ts";
import { xLora } from "./experts/x-lora.ts";
import { checkFits } from "./fits-model.ts";
import { type IdleFault, type IdleOption, idleFaults } from "./idle-options.ts";
import { dora } from "./lora/dora.ts";
import { lora } from "./lora/lora.ts";
import { qlora } from "./lora/qlora.ts";
import type { BoundMethod, MethodDefinition, ModelDescription } from "./method.ts";
import { pTuning } from "./prompts/p-tuning.ts";
import { prefix } from "./prompts/prefix.ts";
import { prompt } from "./prompts/prompt.ts";
import { bindWithHead } from "./trained-head.ts";
import { bitfit } from "./updates/bitfit.ts";
import { boft } from "./updates/boft.ts";
import { fourierft } from "./updates/fourierft.ts";
import { hra } from "./updates/hra.ts";
import { ia3 } from "./updates/ia3.ts";
import { loha } from "./updates/loha.ts";
import { lokr } from "./updates/lokr.ts";
import { miss } from "./updates/miss.ts";
import { oft } from "./updates/oft.ts";
import { vera } from "./updates/vera.ts";
import { freeze } from "./weights/freeze.ts";
import { full } from "./weights/full.ts";
import { lnTuning } from "./weights/ln-tuning.ts";

const METHODS = {
  lora,
  dora,
  qlora,
  adalora,
  "moe-lora": moeLora,
  "x-lora": xLora,
  full,
  freeze,
  bitfit,
  ia3,
  "ln-tuning": lnTuning,
  prompt,
  prefix,
  "p-tuning": pTuning,
  adapter,
  "adapter-fusion": adapterFusion,
  unipelt,
  vera,
  loha,
  lokr,
  oft,
  boft,
  hra,
  miss,
  fourierft,
} as const;

export type MethodName = keyof typeof METHODS;

/** What the library takes as a method: its name and whatever its defaults do not fit. */
export type MethodOptions = {
  [Name in MethodName]: Parameters<(typeof METHODS)[Name]["bind"]>[0];
}[MethodName];

export const methodNames = Object.keys(METHODS) as MethodName[];

type Schema = (typeof METHODS)[MethodName]["schema"];
/** The recipe's sections, one a method. */
export const methodSchemas = Object.values(METHODS).map(({ schema }) => schema) as [
  Schema,
  ...Schema[],
];

/** @throws TunesmithError (config) for a name that no method has */
export function methodDefinition(name: string): MethodDefinition<{ name: string }> {
  const definition = Object.hasOwn(METHODS, name) ? METHODS[name as MethodName] : undefined;
  if (definition) return definition as unknown as MethodDefinition<{ name: string }>;
  const guess = nearest(name, methodNames);
  throw new TunesmithError("config", {
    where: "method.name",
    rule: `is one of ${methodNames.join(", ")}`,
    seen: JSON.stringify(name),
    fix: guess ? `nearest is ${JSON.stringify(guess)}` : "choose one of these",
  });
}

/** What is set and has no effect, as someone who wrote the options should be told. */
export function idleOptions(options: MethodOptions): IdleFault[] {
  const { schema, idle = [], parts } = methodDefinition(options.name);
  const within = (parts?.(options) ?? []).flatMap(({ path, ...part }) =>
    idleFaults(part.schema, part.idle as readonly IdleOption<object>[], part.options).map(
      (fault) => ({ ...fault, option: `${path}.${fault.option}` }),
    ),
  );
  return [...idleFaults(schema, idle, options), ...within];
}

/** @throws TunesmithError (config) where the options do not fit the model */
export function bindMethod(options: MethodOptions, model: ModelDescription): BoundMethod {
  const definition = methodDefinition(options.name);
  const method = model.classifier
    ? bindWithHead(definition, options, model)
    : definition.bind(options, model);
  checkFits(method, model);
  return method;
}

function methodOfHubAdapter(envelope: JsonObject, folder: string): MethodOptions {
  if (isAdapterSetup(envelope)) {
    const [read] = methodNames.flatMap((name) => methodDefinition(name).adapterSetup ?? []);
    return read!(envelope, folder) as MethodOptions;
  }
  const config = envelope.config as JsonObject;
  const where = `${folder}/adapter_config.json`;
  const kinds = methodNames.flatMap((name) => methodDefinition(name).adapterHub ?? []);
  const kind = kinds.find(({ architectures }) => architectures.includes(config.architecture));
  if (kind) return kind.options(config, envelope, where) as MethodOptions;
  const known = kinds.flatMap(({ architectures }) => architectures).filter((name) => name);
  throw new TunesmithError("checkpoint", {
    where: `${where}: config.architecture`,
    rule: `is one of ${known.join(", ")}, or null for bottleneck adapters`,
    seen: JSON.stringify(config.architecture),
    fix: "use an adapter of one of these kinds",
  });
}

/**
 * The method that an adapter of PEFT or AdapterHub was made with.
 * @throws TunesmithError (checkpoint) for a kind or settings whose math is not implemented
 */
export function methodOfAdapter(
  { config, encoder }: Pick<Adapter, "config" | "encoder">,
  folder: string,
): MethodOptions {
  if (adapterLibrary(config) === "adapterHub") return methodOfHubAdapter(config, folder);
  const kinds = methodNames.flatMap((name) => methodDefinition(name).peft ?? []);
  const kind = kinds.find(({ type }) => type === config.peft_type);
  if (kind) return kind.options(config, folder, encoder !== undefined) as MethodOptions;
  throw new TunesmithError("checkpoint", {
    where: `${folder}/adapter_config.json`,
    rule: `peft_type is one of ${kinds.map(({ type }) => JSON.stringify(type)).join(", ")}`,
    seen: config.peft_type === undefined ? "no peft_type" : JSON.stringify(config.peft_type),
    fix: "use an adapter that PEFT or tunesmith saved with one of these methods",
  });
}
