// Data: from files to batches. Reading, formats, tokenising, truncation, packing, batching.

export type { BatchSource } from "./batch-source.ts";
export { openBlank } from "./blanks.ts";
export type { Example } from "./example.ts";
export { type ColumnMapping, FORMATS, type FormatName } from "./formats.ts";
export { imagesIn } from "./image-column.ts";
export { labelsIn, type ReadLabel } from "./label-column.ts";
export {
  type Dataset,
  type DatasetOptions,
  type DatasetReport,
  loadDataset,
  STREAMING_SIZE,
} from "./load.ts";
export { readMessages } from "./messages.ts";
export {
  type PreviewedSample,
  type PreviewPiece,
  previewSample,
  renderPreview,
  renderReport,
} from "./preview.ts";
export { PROMPT_COLUMNS, readPrompt } from "./prompts.ts";
export { type DatasetSide, findFiles, READERS, type ResolveDataset, readRecords } from "./read.ts";
export { ofRecord } from "./record-fault.ts";
export type { Row } from "./row.ts";
export type { Sample } from "./sample.ts";
export type { DatasetCounts, ImageCounts, LengthBucket } from "./tally.ts";
export { createTokenize, type EncodeChat, type LossMode } from "./tokenize.ts";
export { TRUNCATION_RULES, type TruncationRule } from "./truncate.ts";
