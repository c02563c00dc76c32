// Data: from files to batches. Reading, formats, tokenising, truncation, packing, batching.

export type { BatchSource } from "./batch-source.ts";
export { openBlank } from "./blanks.ts";
export type { FormatName } from "./formats.ts";
export { imagesIn } from "./image-column.ts";
export { labelsIn } from "./label-column.ts";
export {
  type Dataset,
  type DatasetReport,
  loadDataset,
} from "./load.ts";
export { readMessages } from "./messages.ts";
export {
  type PreviewedSample,
  previewSample,
  renderPreview,
  renderReport,
} from "./preview.ts";
export { readPrompt } from "./prompts.ts";
export { type DatasetSide, findFiles, READERS, type ResolveDataset, readRecords } from "./read.ts";
export { ofRecord } from "./record-fault.ts";
export type { Row } from "./row.ts";
export type { DatasetCounts, ImageCounts, LengthBucket } from "./tally.ts";
export { createTokenize, type LossMode } from "./tokenize.ts";
export type { TruncationRule } from "./truncate.ts";
