// Unions of methods (Mao et al. 2022, "UniPELT"; He et al. 2021, "mix and match"): prefix, adapters and
// LoRA at once, each optionally with a gate. File format: the unions of AdapterHub's library.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import type { IdleOption } from "../idle-options.ts";
import type { BoundMethod, MethodDefinition, ModelDescription } from "../method.ts";
import { completeOptions, derived } from "../option-schema.ts";
import { type AdapterPart, boundParts } from "./adapter-part.ts";
import { checkAdapterName } from "./adapterhub-config.ts";
import { fromHubLoraConfig, HUB_LORA_IDLE, hubLoraKeys, hubLoraPart } from "./adapterhub-lora.ts";
import {
  fromHubPrefixConfig,
  HUB_PREFIX_IDLE,
  hubPrefixKeys,
  hubPrefixPart,
} from "./adapterhub-prefix.ts";
import { bottleneckPart } from "./bottleneck.ts";
import {
  BOTTLENECK_IDLE,
  bottleneckKeys,
  bottleneckSettings,
  fromBottleneckConfig,
} from "./bottleneck-options.ts";

const PART_SCHEMAS = {
  prefix: z.strictObject({
    kind: z.literal("prefix").describe("Keys and values in front of every layer's."),
    ...hubPrefixKeys,
  }),
  adapter: z.strictObject({
    kind: z.literal("adapter").describe("Bottleneck adapters."),
    ...bottleneckKeys,
  }),
  lora: z.strictObject({
    kind: z.literal("lora").describe("Low-rank adapters beside linear layers."),
    ...hubLoraKeys,
  }),
};
const { prefix, adapter, lora } = PART_SCHEMAS;
const partSchema = z.discriminatedUnion("kind", [prefix, adapter, lora]);

export type UnionPart = z.input<typeof partSchema>;

const unipeltSchema = z.strictObject({
  name: z
    .literal("unipelt")
    .describe("Several methods at once, each with a gate (Mao et al. 2022)."),
  preset: z
    .enum(["unipelt", "mam"])
    .default("unipelt")
    .describe("Gated prefix, adapters and LoRA; or an ungated prefix and parallel adapters (MAM)."),
  union: z
    .array(partSchema)
    .min(1)
    .optional()
    .describe("The parts, instead of a preset's: objects with `kind` prefix, adapter or lora.")
    .meta(derived("by the preset")),
  adapterName: z
    .string()
    .default("default")
    .describe("The adapter's name, which AdapterHub's files have in every tensor's key."),
});

export type UnipeltOptions = z.input<typeof unipeltSchema>;

const PRESETS: Readonly<Record<"unipelt" | "mam", readonly UnionPart[]>> = {
  unipelt: [
    { kind: "prefix", length: 10, gated: true },
    { kind: "adapter", preset: "seq_bn", gated: true },
    { kind: "lora", rank: 8, alpha: 2, gated: true },
  ],
  mam: [
    { kind: "prefix", encoderSize: 800 },
    { kind: "adapter", preset: "par_bn" },
  ],
};

type Kind = UnionPart["kind"];

interface PartKind {
  readonly bind: (
    options: never,
    model: ModelDescription,
    adapterName: string,
    where: string,
  ) => AdapterPart;
  readonly read: (config: JsonObject, where: string) => object;
  readonly idle: readonly IdleOption<never>[];
  /** The library's names for it. */
  readonly architectures: readonly unknown[];
}

const KINDS: Readonly<Record<Kind, PartKind>> = {
  prefix: {
    bind: hubPrefixPart,
    read: fromHubPrefixConfig,
    idle: HUB_PREFIX_IDLE,
    architectures: ["prefix_tuning"],
  },
  adapter: {
    bind: (options: Parameters<typeof bottleneckSettings>[0], ...rest) =>
      bottleneckPart(bottleneckSettings(options), ...rest),
    read: fromBottleneckConfig,
    idle: BOTTLENECK_IDLE,
    architectures: [undefined, null, "bottleneck"],
  },
  lora: {
    bind: hubLoraPart,
    read: fromHubLoraConfig,
    idle: HUB_LORA_IDLE,
    architectures: ["lora"],
  },
};

/** @throws TunesmithError (config) for parts that meet at one place, or do not fit the model */
function bindUnipelt(given: UnipeltOptions, model: ModelDescription): BoundMethod {
  const options = completeOptions(unipeltSchema, given);
  const { name, adapterName } = options;
  const union: readonly UnionPart[] = options.union ?? PRESETS[options.preset];
  checkAdapterName(adapterName);
  const parts = union.map(({ kind, ...options }, i) => {
    const part = KINDS[kind].bind(options as never, model, adapterName, `method.union.${i}`);
    const ranks = part.ranks?.map((use) => ({ ...use, option: `union.${i}.${use.option}` }));
    return { ...part, ranks: ranks ?? [] };
  });
  checkDisjoint(union, parts);
  const [first] = parts;
  return {
    ...boundParts(name, parts, model, {
      adapterName,
      config:
        parts.length === 1
          ? first!.config
          : { architecture: "union", configs: parts.map(({ config }) => config) },
    }),
    unmergeable: "prefixes, gates or networks with an activation, which no weight can stand for",
  };
}

/** @throws TunesmithError (config) where two parts of one kind change one module */
function checkDisjoint(union: readonly UnionPart[], parts: readonly AdapterPart[]): void {
  for (const [i, { kind }] of union.entries())
    for (let j = 0; j < i; j++) {
      if (union[j]!.kind !== kind) continue;
      const shared = parts[i]!.adapted.find((path) => parts[j]!.adapted.includes(path));
      if (kind !== "prefix" && !shared) continue;
      throw new TunesmithError("config", {
        where: `method.union.${i}`,
        rule: "parts of one kind change different modules, and there is one prefix",
        seen: shared
          ? `${shared}, which part ${j} changes too`
          : `a second prefix beside part ${j}`,
        fix: "leave one of them out, or choose other places (leaveOut, afterAttention, targets)",
      });
    }
}

export const unipelt = {
  schema: unipeltSchema,
  learningRate: 5e-4,
  describe: ({ preset = "unipelt", union }) =>
    union ? `a union of ${union.map(({ kind }) => kind).join(", ")}` : preset,
  idle: [{ option: "preset", isIdle: ({ union }) => union !== undefined, needs: "no union" }],
  parts: ({ union = [] }) =>
    union.map(({ kind, ...options }, i) => ({
      path: `union.${i}`,
      schema: PART_SCHEMAS[kind],
      idle: KINDS[kind].idle,
      options,
    })),
  bind: bindUnipelt,
  adapterHub: {
    architectures: ["union", "prefix_tuning", "lora"],
    options: (config: JsonObject, envelope: JsonObject, where: string) => ({
      name: "unipelt",
      union: (config.architecture === "union" ? (config.configs as JsonObject[]) : [config]).map(
        (part, i) => readPart(part, `${where} (configs.${i})`),
      ),
      adapterName: String(envelope.name),
    }),
  },
} satisfies MethodDefinition<UnipeltOptions>;

/** @throws TunesmithError (checkpoint) for a kind that is not implemented */
function readPart(config: JsonObject, where: string): UnionPart {
  const found = Object.entries(KINDS).find(([, { architectures }]) =>
    architectures.includes(config.architecture),
  );
  if (found) return { kind: found[0] as Kind, ...found[1].read(config, where) } as UnionPart;
  throw new TunesmithError("checkpoint", {
    where: `${where}: architecture`,
    rule: "is null (bottleneck adapters), prefix_tuning or lora",
    seen: JSON.stringify(config.architecture),
    fix: "use a union of these",
  });
}
