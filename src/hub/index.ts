// Files other people wrote: checkpoints, tokenizers, chat templates, adapters, hub downloads.

export {
  type Adapter,
  adapterKind,
  adapterLibrary,
  ENCODER,
  readAdapter,
  withoutAdapterName,
  writeAdapter,
} from "./adapter.ts";
export { ADAPTERHUB_VERSION, isAdapterSetup, readFusedConfig } from "./adapter-setup.ts";
export type { AdapterTensor, AdapterTensors } from "./adapter-tensors.ts";
export { writeAtomically, writeFileAtomically } from "./atomic-file.ts";
export type { OriginalType } from "./bitsandbytes.ts";
export {
  type EncodeChatOptions,
  type EncodedChat,
  encodeChat,
  type RenderOptions,
  renderChat,
} from "./chat-template.ts";
export { openCheckpoint } from "./checkpoint.ts";
export type { Checkpoint, CheckpointTensor } from "./checkpoint-types.ts";
export type { DownloadOptions, DownloadProgress } from "./fetch-repository.ts";
export { BLOCK_SIZES } from "./four-bit.ts";
export { deinterleavedRow, ggufName, interleavedHeads } from "./gguf-llama.ts";
export { type GgufToWrite, type GgufValue, writeGguf } from "./gguf-writer.ts";
export { decodeHalf, encodeHalf, type HalfKind } from "./half.ts";
export { ownCacheFolder } from "./hub-cache.ts";
export { type JsonObject, readJsonObject } from "./json-file.ts";
export { parseHubReference } from "./model-reference.ts";
export {
  PEFT_VERSION,
  readPeftConfig,
  writePeftConfig,
} from "./peft-config.ts";
export {
  bytesOf,
  dequantize,
  optionsOf,
  QUANTIZATION_TYPES,
  type QuantizationOptions,
  type QuantizationType,
  type QuantizedTensor,
  quantize,
  quantizedBytes,
} from "./quantization.ts";
export { openQuantizedCache, type QuantizedCache } from "./quantized-cache.ts";
export { resolveDataset } from "./resolve-dataset.ts";
export { resolveModel } from "./resolve-model.ts";
export {
  openSafetensors,
  SAFETENSORS_ELEMENT_BYTES,
  type SafetensorsDtype,
  type SafetensorsFile,
  type SafetensorsTensor,
} from "./safetensors.ts";
export { readFloat32 } from "./safetensors-float32.ts";
export {
  type TensorData,
  type TensorToWrite,
  writeSafetensors,
  writeShardedSafetensors,
} from "./safetensors-writer.ts";
export { loadTokenizerFolder } from "./tokenizer.ts";
export type { ChatMessage, Tokenizer } from "./tokenizer-types.ts";
