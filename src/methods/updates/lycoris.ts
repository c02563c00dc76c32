// What LoHa and LoKr have in common: rank and alpha of each module, and the keys of PEFT's
// `LycorisConfig`.

import { z } from "zod";
import { adaptedModuleKeys } from "../adapted-modules.ts";
import { patternRankUse } from "../fitting-ranks.ts";
import type { RankUse } from "../method.ts";
import { count } from "../option-schema.ts";
import { PEFT_MODULE_KEYS } from "../peft-format.ts";
import { type LinearModule, patternValue } from "../targets.ts";

/** Keys of both schemas. */
export const lycorisKeys = {
  rank: count.default(8).describe("Rank of the factors."),
  alpha: z
    .number()
    .positive()
    .default(8)
    .describe("Strength: what is added is scaled by alpha / rank."),
  ...adaptedModuleKeys,
  rankPattern: z
    .record(z.string(), count)
    .default({})
    .describe("Other ranks for some layers, as { q_proj: 16 }."),
  alphaPattern: z
    .record(z.string(), z.number().positive())
    .default({})
    .describe("Other alphas for some layers."),
};

/** Where these options are in PEFT's configuration. */
export const LYCORIS_PEFT_KEYS = {
  ...PEFT_MODULE_KEYS,
  rank: "r",
  alpha: "alpha",
  rankPattern: "rank_pattern",
  alphaPattern: "alpha_pattern",
} as const;

/** Keys of PEFT's configuration that are for convolutions, or that training here does without. */
export const LYCORIS_UNUSED = {
  layers_pattern: null,
  module_dropout: 0,
  rank_dropout: 0,
  use_effective_conv2d: false,
};

interface Ranks {
  readonly rank: number;
  readonly alpha: number;
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
}

/** The rank and the scaling of one module. */
export function ownRank(
  options: Ranks,
  module: LinearModule,
): { rank: number; rankUse: RankUse; scaling: number } {
  const rankUse = patternRankUse(options, module);
  const alpha =
    patternValue(options.alphaPattern, module.path, "method.alphaPattern") ?? options.alpha;
  return { rank: rankUse.rank, rankUse, scaling: alpha / rankUse.rank };
}
