// What can be said about EVA's initialisation, with PEFT's names and defaults (`EvaConfig`).

import { z } from "zod";

/** How `init: eva` looks at data. */
export const evaSchema = z.strictObject({
  rho: z
    .number()
    .min(1)
    .default(2)
    .describe(
      "With init eva: how many times its rank a layer may get; 1 leaves ranks as they are.",
    ),
  tau: z
    .number()
    .min(0)
    .lt(1)
    .default(0.99)
    .describe(
      "With init eva: the cosine between two batches' directions from which they are settled.",
    ),
  useLabelMask: z
    .boolean()
    .default(true)
    .describe("With init eva: look at the tokens alone that are trained on."),
  whiten: z
    .boolean()
    .default(false)
    .describe("With init eva: divide each direction by the root of its singular value."),
  adjustScalingFactors: z
    .boolean()
    .default(true)
    .describe("With init eva: keep each layer's alpha / rank as ranks change."),
});

export type EvaOptions = z.input<typeof evaSchema>;

/** PEFT's `eva_config`. */
export function evaConfig(options: EvaOptions | undefined) {
  const { rho, tau, useLabelMask, whiten, adjustScalingFactors } = evaSchema.parse(options ?? {});
  return {
    adjust_scaling_factors: adjustScalingFactors,
    label_mask_value: -100,
    rho,
    tau,
    use_label_mask: useLabelMask,
    whiten,
  };
}
