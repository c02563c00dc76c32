// What can be said about a LoRA, as its recipe section and PEFT's config say it.

import { z } from "zod";
import type { IdleOption } from "../idle-options.ts";
import { count, derived, moduleNames, targetKeys } from "../option-schema.ts";
import { EVA_IDLE, type EvaOptions, evaKeys } from "./eva-options.ts";
import type { LoraInit } from "./lora-init.ts";
import type { TrainableTokens } from "./token-rows.ts";

export interface LoraOptions extends EvaOptions {
  readonly name: "lora";
  /** Default 8. */
  readonly rank?: number;
  /** Scaling is alpha / rank. Default 8, as PEFT's. */
  readonly alpha?: number;
  /** Default: the usual ones of the model's `model_type`, ["q_proj", "v_proj"] of most. */
  readonly targets?: string | readonly string[];
  readonly exclude?: string | readonly string[];
  readonly rankPattern?: Readonly<Record<string, number>>;
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /** Scaling alpha / sqrt(rank) (Kalajdzievski 2023). */
  readonly rslora?: boolean;
  readonly dropout?: number;
  readonly bias?: "none" | "all" | "lora_only";
  readonly modulesToSave?: readonly string[];
  readonly layersToTransform?: readonly number[];
  readonly init?: LoraInit;
  /** Lengths of the weights' rows apart from their directions (Liu et al. 2024). */
  readonly dora?: boolean;
  /** A bias of its own for each B. */
  readonly loraBias?: boolean;
  /** How much faster B learns than A (LoRA+, Hayou et al. 2024). Default 1. */
  readonly learningRateRatio?: number;
  readonly trainableTokens?: TrainableTokens;
}

/** What only some initialisations read. */
export const LORA_IDLE: readonly IdleOption<Omit<LoraOptions, "name">>[] = [
  ...EVA_IDLE,
  {
    option: "learningRateRatio",
    // B is frozen: it speeds up what is trained besides, if anything is.
    isIdle: ({ init, dora, bias = "none", modulesToSave = [] }) =>
      init === "mica" && !dora && bias === "none" && modulesToSave.length === 0,
    needs: "an init that trains B",
  },
];

/** Options of a LoRA with their defaults. */
export type CompleteLora = LoraOptions &
  Required<
    Omit<LoraOptions, "exclude" | "layersToTransform" | "trainableTokens" | keyof EvaOptions>
  >;

const PISSA_ITERATIONS = z
  .templateLiteral(["pissa_niter_", z.int().min(0)])
  .meta({ title: "pissa_niter_N" });
const INITS = [
  "gaussian",
  "orthogonal",
  "olora",
  "pissa",
  "mica",
  "loftq",
  "eva",
] as const satisfies readonly LoraInit[];

const tokenIds = z.array(z.int().min(0)).min(1);

/** The recipe's section. Its defaults aim at quality, those of `LoraOptions` are PEFT's. */
export const loraSchema = z.strictObject({
  name: z.literal("lora").describe("Low-rank adapters beside frozen weights (Hu et al. 2021)."),
  rank: count.default(8).describe("Rank of each adapter: more learns more and weighs more."),
  alpha: z
    .number()
    .positive()
    .optional()
    .describe("Strength: adapters are scaled by alpha / rank.")
    .meta(derived("2 × rank")),
  ...targetKeys,
  rankPattern: z
    .record(z.string(), count)
    .default({})
    .describe("Other ranks for some layers, as { q_proj: 16 }."),
  alphaPattern: z
    .record(z.string(), z.number().positive())
    .default({})
    .describe("Other alphas for some layers."),
  rslora: z
    .boolean()
    .default(false)
    .describe("Scale by alpha / √rank instead (Kalajdzievski 2023): steadier at high ranks."),
  dropout: z.number().min(0).lt(1).default(0).describe("Dropout in front of each adapter."),
  bias: z
    .enum(["none", "all", "lora_only"])
    .default("none")
    .describe("Biases to train as well: none, all, or those of the adapted layers."),
  modulesToSave: moduleNames
    .default([])
    .describe("Modules to train in full and save with the adapter."),
  init: z
    .union([z.boolean(), z.enum(INITS), PISSA_ITERATIONS])
    .default(true)
    .describe(
      "How adapters start: true is PEFT's default, from zero; olora and pissa from the leading part of each weight; eva from a look at the training data.",
    ),
  ...evaKeys,
  dora: z
    .boolean()
    .default(false)
    .describe("DoRA: train the lengths of the weights' rows apart (Liu et al. 2024)."),
  loraBias: z.boolean().default(false).describe("Give each B a bias of its own."),
  learningRateRatio: z
    .number()
    .positive()
    .default(1)
    .describe("LoRA+: how much faster B learns than A (Hayou et al. 2024); 16 is usual."),
  trainableTokens: z
    .union([tokenIds, z.record(z.string(), tokenIds)])
    .optional()
    .describe("Token ids whose embeddings are trained, or { embed_tokens: ids, lm_head: ids }.")
    .meta(derived("the new ones of `tokens`, if any")),
});
