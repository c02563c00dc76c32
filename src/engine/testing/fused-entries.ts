// Entries for models whose modules have other names than LLaMA's: methods reach them by default, or by
// all-linear.

import { METHODS, type MethodEntry } from "./method-entries.ts";

const DEFAULTS: readonly string[] = [
  "LoRA",
  "full fine-tuning",
  "(IA)³",
  "LN tuning",
  "prefix tuning",
  "Pfeiffer's adapters",
];

/** One of each kind of hook. */
export const ON_OTHER_NAMES: readonly MethodEntry[] = [
  ...Object.values<readonly MethodEntry[]>(METHODS)
    .flat()
    .filter(({ name }) => DEFAULTS.includes(name)),
  {
    name: "QLoRA",
    options: { name: "qlora", rank: 2, targets: "all-linear" },
    startsAsBase: true,
    learningRate: 1e-2,
    quantization: { type: "nf4" },
  },
];
