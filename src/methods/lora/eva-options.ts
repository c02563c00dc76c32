// What can be said about EVA's look at data, with the defaults of PEFT's `EvaConfig`.

import { z } from "zod";
import type { IdleOption } from "../idle-options.ts";

/** The keys by which LoRA's section says how `init: eva` looks at data. */
export const evaKeys = {
  evaRho: z
    .number()
    .min(1)
    .default(2)
    .describe("With init eva: how many times its rank a layer may get; 1 leaves ranks alone."),
  evaTau: z
    .number()
    .min(0)
    .lt(1)
    .default(0.99)
    .describe("With init eva: the cosine between two batches' directions that settles them."),
  evaUseLabelMask: z
    .boolean()
    .default(true)
    .describe("With init eva: look at the tokens alone that are trained on."),
  evaWhiten: z
    .boolean()
    .default(false)
    .describe("With init eva: divide each direction by the root of its singular value."),
  evaAdjustScalingFactors: z
    .boolean()
    .default(true)
    .describe("With init eva: keep each layer's alpha / rank as ranks change."),
};

const evaSchema = z.object(evaKeys);

export type EvaOptions = z.input<typeof evaSchema>;

/** With defaults, out of all options of a LoRA. */
export const evaSettings = (options: EvaOptions): z.output<typeof evaSchema> =>
  evaSchema.parse(options);

/** They have no effect without it. */
export const EVA_IDLE: readonly IdleOption<EvaOptions & { readonly init?: unknown }>[] = (
  Object.keys(evaKeys) as (keyof EvaOptions)[]
).map((option) => ({ option, isIdle: ({ init }) => init !== "eva", needs: "init: eva" }));

/** PEFT's `eva_config`. */
export function evaConfig(options: EvaOptions) {
  const settings = evaSettings(options);
  return {
    adjust_scaling_factors: settings.evaAdjustScalingFactors,
    label_mask_value: -100,
    rho: settings.evaRho,
    tau: settings.evaTau,
    use_label_mask: settings.evaUseLabelMask,
    whiten: settings.evaWhiten,
  };
}
