// What can be said about bottleneck adapters: the recipe's keys, the presets of AdapterHub's library,
// and the keys of its configuration (`adapters/configuration/adapter_config.py`).

import { z } from "zod";
import type { JsonObject } from "../../hub/index.ts";
import type { IdleOption } from "../idle-options.ts";
import { count, derived } from "../option-schema.ts";
import { nonLinearityNames } from "../parts/non-linearity.ts";
import { fromHubConfig, type HubLayout, toHubConfig } from "./adapterhub-config.ts";

const byPreset = derived("by the preset");
const flag = (meaning: string) => z.boolean().optional().describe(meaning).meta(byPreset);

/** Everything but the name of a method that brings bottleneck adapters. */
export const bottleneckKeys = {
  preset: z
    .enum([
      "seq_bn",
      "double_seq_bn",
      "par_bn",
      "scaled_par_bn",
      "seq_bn_inv",
      "double_seq_bn_inv",
      "compacter",
      "compacter++",
      "adapter_plus",
    ])
    .default("seq_bn")
    .describe("What the other keys start from: Pfeiffer, Houlsby, parallel, Compacter and others."),
  afterAttention: flag("Whether there is an adapter at the attention."),
  afterFeedForward: flag("Whether there is an adapter at the feed-forward."),
  parallel: flag("Whether adapters read what their half of the block reads, beside it."),
  reductionFactor: z
    .union([z.number().min(1), z.record(z.string(), z.number().min(1))])
    .optional()
    .describe("Hidden size over bottleneck size; or by layer, as { 0: 8, default: 16 }.")
    .meta(byPreset),
  nonLinearity: z
    .enum(nonLinearityNames)
    .optional()
    .describe("Activation in the bottleneck.")
    .meta(byPreset),
  scaling: z
    .union([z.number(), z.enum(["learned", "channel"])])
    .optional()
    .describe("Factor on what an adapter adds: a number, a learned one, or one a channel.")
    .meta(byPreset),
  init: z
    .enum(["bert", "mam_adapter", "houlsby"])
    .optional()
    .describe("How adapters start: small and random, from zero, or smaller and cut off.")
    .meta(byPreset),
  leaveOut: z
    .array(z.int().min(0))
    .default([])
    .describe("Layers without adapters, from 0 (AdapterDrop)."),
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout on what an adapter adds."),
  stochasticDepth: z
    .number()
    .min(0)
    .lt(1)
    .optional()
    .describe("How often an adapter is left out for a whole row while training.")
    .meta(byPreset),
  gated: z
    .boolean()
    .default(false)
    .describe("A gate a row on what each adapter adds, as in UniPELT."),
  normBefore: flag("A layer norm of its own in front of the adapter."),
  normAfter: flag("A layer norm of its own behind the adapter."),
  adapterResidualBeforeNorm: flag("Whether that norm sees the residual around the adapter too."),
  originalNormBefore: flag("Whether the adapter reads the block's residual stream too."),
  originalNormAfter: flag("Whether that stream is added behind the adapter."),
  residualBeforeNorm: flag("Whether the residual around the adapter leaves that stream out."),
  invertible: z
    .union([z.literal(false), z.literal("nice")])
    .optional()
    .describe("A coupling block behind the embedding (MAD-X).")
    .meta(byPreset),
  invertibleReductionFactor: z
    .number()
    .min(1)
    .optional()
    .describe("Its halves' size over its bottleneck size.")
    .meta(derived("2")),
  invertsOutput: z
    .boolean()
    .default(false)
    .describe("Whether it is undone in front of the output matrix; AdapterHub's library does not."),
  phm: flag("Hypercomplex products instead of plain ones (Compacter)."),
  phmDimension: count.default(4).describe("Size of the hypercomplex numbers; divides all widths."),
  phmRank: count.default(1).describe("Rank of their weights, where these are factorised."),
  phmSharedRule: z.boolean().default(true).describe("One multiplication rule for all layers."),
  phmFactorizedRule: z.boolean().default(false).describe("Rules as products of vectors."),
  phmSharedWeights: z.boolean().default(false).describe("One set of weights for all layers."),
  phmFactorizedWeights: z
    .boolean()
    .default(true)
    .describe("Weights as products of rank `phmRank`."),
  phmBias: z.boolean().default(true).describe("Whether hypercomplex products have a bias."),
} as const;

const bottleneckSchema = z.strictObject(bottleneckKeys);

export type BottleneckOptions = z.input<typeof bottleneckSchema>;
type Given = z.output<typeof bottleneckSchema>;
export type BottleneckPreset = Given["preset"];

/** Options with what the preset says in place. */
export type BottleneckSettings = { readonly [Key in keyof Given]-?: NonNullable<Given[Key]> };

const BASE = {
  afterAttention: false,
  afterFeedForward: true,
  parallel: false,
  reductionFactor: 16,
  nonLinearity: "relu",
  scaling: 1,
  init: "bert",
  stochasticDepth: 0,
  normBefore: false,
  normAfter: false,
  adapterResidualBeforeNorm: false,
  originalNormBefore: true,
  originalNormAfter: true,
  residualBeforeNorm: true,
  invertible: false,
  invertibleReductionFactor: 2,
  phm: false,
} as const;
const DOUBLE = {
  ...BASE,
  afterAttention: true,
  nonLinearity: "swish",
  originalNormBefore: false,
} as const;
const PARALLEL = {
  ...BASE,
  parallel: true,
  reductionFactor: 2,
  scaling: 4,
  init: "mam_adapter",
  originalNormBefore: false,
} as const;
const COMPACT = { phm: true, reductionFactor: 32, nonLinearity: "gelu" } as const;

type Preset = { readonly [Key in keyof typeof BASE]: BottleneckSettings[Key] };

const PRESETS: Readonly<Record<BottleneckPreset, Preset>> = {
  seq_bn: BASE,
  double_seq_bn: DOUBLE,
  par_bn: PARALLEL,
  scaled_par_bn: { ...PARALLEL, scaling: "learned" },
  seq_bn_inv: { ...BASE, invertible: "nice" },
  double_seq_bn_inv: { ...DOUBLE, invertible: "nice" },
  compacter: { ...DOUBLE, ...COMPACT },
  "compacter++": { ...BASE, ...COMPACT },
  adapter_plus: {
    ...BASE,
    reductionFactor: 96,
    nonLinearity: "gelu",
    scaling: "channel",
    init: "houlsby",
    stochasticDepth: 0.1,
    originalNormAfter: false,
    residualBeforeNorm: false,
  },
};

/** What the preset answers for the keys that `options` leaves open. */
export function bottleneckSettings(options: BottleneckOptions): BottleneckSettings {
  const given = bottleneckSchema.parse(options);
  const written = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...PRESETS[given.preset], ...Object.fromEntries(written) } as BottleneckSettings;
}

/** What an option or else the preset says. */
const settled = (given: BottleneckOptions, key: "invertible" | "phm") =>
  given[key] ?? PRESETS[given.preset ?? "seq_bn"][key];

/** What only invertible and hypercomplex adapters read. */
export const BOTTLENECK_IDLE: readonly IdleOption<BottleneckOptions>[] = [
  {
    option: "invertibleReductionFactor",
    isIdle: (given) => !settled(given, "invertible"),
    needs: "invertible: nice",
  },
  ...(
    [
      "phmDimension",
      "phmRank",
      "phmSharedRule",
      "phmFactorizedRule",
      "phmSharedWeights",
      "phmFactorizedWeights",
      "phmBias",
    ] as const
  ).map((option) => ({
    option,
    isIdle: (given: BottleneckOptions) => !settled(given, "phm"),
    needs: "phm: true",
  })),
  {
    option: "phmRank",
    isIdle: (given) => Boolean(settled(given, "phm")) && given.phmFactorizedWeights === false,
    needs: "phmFactorizedWeights: true",
  },
];

/** AdapterHub's `BnConfig`: its keys with their defaults where a file leaves one out. */
const bottleneckLayout: HubLayout = {
  keys: {
    afterAttention: ["mh_adapter", false],
    afterFeedForward: ["output_adapter", true],
    parallel: ["is_parallel", false],
    reductionFactor: ["reduction_factor", 16],
    nonLinearity: ["non_linearity", "relu"],
    scaling: ["scaling", 1],
    init: ["init_weights", "bert"],
    leaveOut: ["leave_out", []],
    dropout: ["dropout", 0],
    stochasticDepth: ["stochastic_depth", 0],
    gated: ["use_gating", false],
    normBefore: ["ln_before", false],
    normAfter: ["ln_after", false],
    adapterResidualBeforeNorm: ["adapter_residual_before_ln", false],
    originalNormBefore: ["original_ln_before", false],
    originalNormAfter: ["original_ln_after", true],
    residualBeforeNorm: ["residual_before_ln", true],
    invertible: ["inv_adapter", null],
    invertibleReductionFactor: ["inv_adapter_reduction_factor", null],
    phm: ["phm_layer", false],
    phmDimension: ["phm_dim", 4],
    phmRank: ["phm_rank", 1],
    phmSharedRule: ["shared_phm_rule", true],
    phmFactorizedRule: ["factorized_phm_rule", false],
    phmSharedWeights: ["shared_W_phm", false],
    phmFactorizedWeights: ["factorized_phm_W", true],
    phmBias: ["phm_bias", true],
  },
  unused: {
    cross_adapter: false,
    hypercomplex_nonlinearity: "glorot-uniform",
    init_weights_seed: null,
    learn_phm: true,
    phm_c_init: "normal",
    phm_init_range: 0.0001,
  },
};

/** What AdapterHub's library writes for such adapters. */
export function toBottleneckConfig(settings: BottleneckSettings): JsonObject {
  const { invertible, invertibleReductionFactor } = settings;
  return {
    ...toHubConfig(bottleneckLayout, settings),
    inv_adapter: invertible || null,
    inv_adapter_reduction_factor: invertible ? invertibleReductionFactor : null,
  };
}

/** @throws TunesmithError (checkpoint) for values that are not implemented */
export const fromBottleneckConfig = (config: JsonObject, where: string): BottleneckOptions =>
  fromHubConfig(
    bottleneckSchema,
    bottleneckLayout,
    {
      ...config,
      non_linearity: String(config.non_linearity ?? "relu").toLowerCase(),
    },
    where,
  );
