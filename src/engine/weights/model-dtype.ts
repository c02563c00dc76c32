// How a model's weights are kept in memory, as a caller names it.

import type { WeightSpec } from "../../models/index.ts";
import type { BlockBits } from "./block-weights.ts";

export const MODEL_DTYPES = ["auto", "float32", "q4", "q8"] as const;
export type ModelDtype = (typeof MODEL_DTYPES)[number];

/** Whether a model opened in this dtype can be run alone. */
export const isForRunning = (dtype: ModelDtype): dtype is "q4" | "q8" =>
  dtype === "q4" || dtype === "q8";

/** Embedding and output matrix decide which token it is, and keep 8 bits. */
const BLOCK_BITS: Partial<Record<WeightSpec["role"], Record<"q4" | "q8", BlockBits>>> = {
  linear: { q4: 4, q8: 8 },
  embedding: { q4: 8, q8: 8 },
  output: { q4: 8, q8: 8 },
};

/** The bits of a weight's blocks; undefined for what is kept as numbers. */
export const blockBits = (dtype: ModelDtype, { role }: WeightSpec): BlockBits | undefined =>
  isForRunning(dtype) ? BLOCK_BITS[role]?.[dtype] : undefined;
