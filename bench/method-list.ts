// The methods that bench/methods.ts measures, each beside the same thing in PEFT where it has it.
// Modules are LoRA's usual two wherever a method may choose.

import type { MethodName, MethodOptions } from "../src/methods/index.ts";

export interface MeasuredMethod {
  /** As the table shows it. */
  readonly label: string;
  readonly options: MethodOptions;
  /** Peak learning rate on the quickstart's task. */
  readonly learningRate: number;
  /** PEFT's configuration class and its arguments; absent where PEFT has no such method. */
  readonly peft?: { readonly config: string; readonly [argument: string]: unknown };
}

const targets = ["q_proj", "v_proj"];
const target_modules = targets;
/** In place of measurements that nobody makes, the reason. */
type Entry = readonly MeasuredMethod[] | string;

/** Every method has its entry; the compiler says when one is missing. */
export const METHODS: Readonly<Partial<Record<MethodName, Entry>>> = {
  lora: [
    {
      label: "LoRA, rank 8",
      options: { name: "lora", rank: 8, alpha: 16, targets },
      learningRate: 4e-3,
      peft: { config: "LoraConfig", r: 8, lora_alpha: 16, target_modules },
    },
    {
      label: "LoRA, rank 8, all linear layers",
      options: { name: "lora", rank: 8, alpha: 16, targets: "all-linear" },
      learningRate: 4e-3,
      peft: { config: "LoraConfig", r: 8, lora_alpha: 16, target_modules: "all-linear" },
    },
  ],
  full: "no PEFT peer; its cost is the two products more for every weight",
};
