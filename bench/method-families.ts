// What kind of change a method makes: the colours of pictures that show many methods.

import type { MethodName } from "../src/methods/index.ts";
import { METHODS } from "./method-list.ts";

/** Words of the legend, with colours that read on light and dark pages. */
export const FAMILIES = {
  added: { words: "something small added to weights", color: "#2f7fc1" },
  turned: { words: "weights turned or scaled", color: "#d9822b" },
  experts: { words: "mixtures of experts", color: "#9a5fc0" },
  modules: { words: "small networks in the blocks", color: "#2a9d5c" },
  prompts: { words: "virtual tokens", color: "#d1495b" },
  weights: { words: "the model's own weights", color: "#8c7a5b" },
} as const;

export type Family = keyof typeof FAMILIES;

const FAMILY_OF: Readonly<Record<MethodName, Family>> = {
  lora: "added",
  qlora: "added",
  dora: "added",
  adalora: "added",
  vera: "added",
  loha: "added",
  lokr: "added",
  miss: "added",
  fourierft: "added",
  oft: "turned",
  boft: "turned",
  hra: "turned",
  ia3: "turned",
  "moe-lora": "experts",
  "x-lora": "experts",
  adapter: "modules",
  "adapter-fusion": "modules",
  unipelt: "modules",
  prompt: "prompts",
  "p-tuning": "prompts",
  prefix: "prompts",
  full: "weights",
  freeze: "weights",
  bitfit: "weights",
  "ln-tuning": "weights",
};

/** The family of a row of bench/method-list.ts; labels of older results may be gone from it. */
export function familyOf(label: string): Family {
  const entries = Object.values(METHODS).flatMap((entry) =>
    typeof entry === "string" ? [] : entry,
  );
  const method = entries.find((entry) => entry.label === label);
  return method ? FAMILY_OF[method.options.name as MethodName] : "added";
}
