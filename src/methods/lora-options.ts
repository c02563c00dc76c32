// What can be said about a LoRA, as its recipe section and PEFT's config say it.

import type { LoraInit } from "./lora-init.ts";

export interface LoraOptions {
  readonly name: "lora";
  /** Default 8. */
  readonly rank?: number;
  /** Scaling is alpha / rank. Default 8, as PEFT's. */
  readonly alpha?: number;
  /** Default ["q_proj", "v_proj"]. */
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
}
