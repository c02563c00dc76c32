// Public names of the adapter layer: what can be done with adapters that are trained already.
export { atRank, convertToLora } from "./convert-to-lora.ts";
export { type AdapterDescription, type AdapterPart, describeAdapter } from "./describe.ts";
export type { RankChoice } from "./factors.ts";
export { ggufAdapter } from "./gguf-adapter.ts";
export {
  type MergeMethod,
  type MergeSettings,
  mergeAdapters,
} from "./merge-adapters.ts";
export { mixedRows } from "./mixed-rows.ts";
export { asPlainLora, type PlainLora, readPlainLora } from "./plain-lora.ts";
