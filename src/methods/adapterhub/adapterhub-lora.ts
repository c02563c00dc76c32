// LoRA (Hu et al. 2021) as a part of AdapterHub's unions: at fixed places of a block, optionally with a
// gate, which then stands in the place of alpha / rank.

import { z } from "zod";
import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../../hub/index.ts";
import { constant, linear, multiply, type Tensor } from "../../tensor/index.ts";
import { rankUse } from "../fitting-ranks.ts";
import type { IdleOption } from "../idle-options.ts";
import type { ModelDescription, ParameterSpec } from "../method.ts";
import { count } from "../option-schema.ts";
import { normalSpec, uniformSpec, zeroSpec } from "../parts/initial-values.ts";
import { linearModules } from "../targets.ts";
import type { AdapterPart } from "./adapter-part.ts";
import { fromHubConfig, type HubLayout, toHubConfig } from "./adapterhub-config.ts";
import { gateLayer, rowGate, scaleRows } from "./row-gate.ts";

/** The library's places, by the module's name: LLaMA's feed-forward has its names swapped there. */
const PLACES = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"] as const;
type Place = (typeof PLACES)[number];

export const hubLoraKeys = {
  rank: count.default(8).describe("Rank of each adapter."),
  alpha: z
    .number()
    .positive()
    .default(8)
    .describe("Strength: alpha / rank, where there is no gate."),
  targets: z
    .array(z.enum(PLACES))
    .min(1)
    .default(["q_proj", "v_proj"])
    .describe("Layers that are adapted."),
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout in front of each adapter."),
  leaveOut: z.array(z.int().min(0)).default([]).describe("Layers without adapters, from 0."),
  init: z.enum(["lora", "bert"]).default("lora").describe("B from zero, or both small and random."),
  gated: z.boolean().default(false).describe("A gate a row on what each adapter adds."),
} as const;

const hubLoraSchema = z.strictObject(hubLoraKeys);

export type HubLoraOptions = z.input<typeof hubLoraSchema>;

/** A gate stands in the place of alpha / rank. */
export const HUB_LORA_IDLE: readonly IdleOption<HubLoraOptions>[] = [
  { option: "alpha", isIdle: ({ gated }) => gated === true, needs: "gated: false" },
];

const layout: HubLayout = {
  architecture: "lora",
  keys: {
    rank: ["r", 8],
    alpha: ["alpha", 8],
    dropout: ["dropout", 0],
    leaveOut: ["leave_out", []],
    init: ["init_weights", "lora"],
    gated: ["use_gating", false],
  },
  unused: { init_weights_seed: null },
  only: {
    composition_mode: "add",
    dtype: null,
    use_dora: false,
    vera_b: null,
    vera_d: null,
  },
};

const ATTENTION = { q: "q_proj", k: "k_proj", v: "v_proj" } as const;

function toConfig(options: z.output<typeof hubLoraSchema>): JsonObject {
  const { targets } = options;
  const matrices = Object.entries(ATTENTION).filter(([, place]) => targets.includes(place));
  return {
    ...toHubConfig(layout, options),
    attn_matrices: matrices.map(([name]) => name),
    selfattn_lora: matrices.length > 0,
    intermediate_lora: targets.includes("down_proj"),
    output_lora: targets.includes("up_proj"),
  };
}

/** @throws TunesmithError (checkpoint) for settings that are not implemented */
export function fromHubLoraConfig(config: JsonObject, where: string): HubLoraOptions {
  const { attn_matrices: matrices = ["q", "v"], selfattn_lora: attends = true } = config;
  const attention = attends ? (matrices as string[]) : [];
  const targets = [
    ...attention.map((name) => ATTENTION[name as keyof typeof ATTENTION] ?? name),
    ...(config.intermediate_lora ? ["down_proj"] : []),
    ...(config.output_lora ? ["up_proj"] : []),
  ] as Place[];
  return { ...fromHubConfig(hubLoraSchema, layout, config, where), targets };
}

interface LowRank {
  readonly a: ParameterSpec;
  readonly b: ParameterSpec;
}

/** @throws TunesmithError (config) for places that the model does not have */
export function hubLoraPart(
  given: HubLoraOptions,
  model: ModelDescription,
  adapterName: string,
  where = "method",
): AdapterPart {
  const options = hubLoraSchema.parse(given);
  const { rank, alpha, targets, leaveOut, gated, init } = options;
  const left = model.blocks
    .filter((_, layer) => leaveOut.includes(layer))
    .map(({ block }) => block);
  // As in the library, which knows no encoder of images, it is of the decoder.
  const ofImages = new Set(model.imageWeights?.map(({ name }) => name));
  const modules = linearModules(model).filter(
    ({ path, weight }) =>
      !ofImages.has(weight) &&
      (targets as string[]).includes(path.split(".").at(-1)!) &&
      !left.some((block) => path.startsWith(`${block}.`)),
  );
  const missing = targets.find((name) => !modules.some(({ path }) => path.endsWith(`.${name}`)));
  if (missing)
    throw new TunesmithError("config", {
      where: `${where}.targets`,
      rule: "every target names a linear module of a layer that is not left out",
      seen: JSON.stringify(missing),
      fix: "name other targets, or leave fewer layers out",
    });
  const adapters = new Map<string, LowRank>();
  const gates = new Map<string, ReturnType<typeof gateLayer>>();
  for (const { path, inputSize, outputSize } of modules) {
    const key = `${path}.loras.${adapterName}`;
    const [a, b] = [`${key}.lora_A`, `${key}.lora_B`];
    adapters.set(path, {
      a:
        init === "bert"
          ? normalSpec(a, [rank, inputSize], 0.02)
          : uniformSpec(a, [rank, inputSize], inputSize),
      b:
        init === "bert" ? normalSpec(b, [outputSize, rank], 0.02) : zeroSpec(b, [outputSize, rank]),
    });
    if (gated) gates.set(path, gateLayer(`${key}.gate`, inputSize, 1, "uniform"));
  }
  return {
    parameters: [
      ...[...adapters.values()].flatMap(({ a, b }) => [a, b]),
      ...[...gates.values()].flatMap(({ weight, bias }) => [weight, bias]),
    ],
    adapted: [...adapters.keys()],
    ranks: modules.map((module) => rankUse("rank", rank, module)),
    config: toConfig(options),
    ...(gated && { mixesPositions: true }),
    beside(path, x, scope): Tensor | undefined {
      const adapter = adapters.get(path);
      if (!adapter) return undefined;
      const dropped = scope.dropout(x, options.dropout, `${path} lora`);
      const low = linear(dropped, scope.parameter(adapter.a));
      const gate = gates.get(path);
      const scaled = gate
        ? scaleRows(low, rowGate(x, gate, scope), scope)
        : multiply(low, constant(alpha / rank));
      return linear(scaled, scope.parameter(adapter.b));
    },
  };
}
