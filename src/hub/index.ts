// Files other people wrote: checkpoints, tokenizers, chat templates, adapters, hub downloads.

export {
  type Adapter,
  adapterKind,
  adapterLibrary,
  ENCODER,
  namedBase,
  readAdapter,
  writeAdapter,
} from "./adapters/adapter.ts";
export { ADAPTERHUB_VERSION, isAdapterSetup, readFusedConfig } from "./adapters/adapter-setup.ts";
export type { AdapterTensor, AdapterTensors } from "./adapters/adapter-tensors.ts";
export {
  expertFolders,
  expertKey,
  hasExperts,
  readExpertConfig,
} from "./adapters/expert-folders.ts";
export { PEFT_VERSION } from "./adapters/peft-config.ts";
export { writeAtomically, writeFileAtomically } from "./atomic-file.ts";
export { openCheckpoint } from "./checkpoint.ts";
export type { Checkpoint, CheckpointTensor, NewTokens } from "./checkpoint-types.ts";
export type { DownloadOptions, DownloadProgress } from "./downloads/fetch-repository.ts";
export { hubCacheFolder, ownCacheFolder } from "./downloads/hub-cache.ts";
export { parseHubReference } from "./downloads/model-reference.ts";
export { resolveDataset } from "./downloads/resolve-dataset.ts";
export { resolveModel } from "./downloads/resolve-model.ts";
export {
  GGUF_MODEL_TYPES,
  ggufArchitecture,
  ggufPlace,
  partOf,
} from "./gguf/gguf-architectures.ts";
export { type ModelTensor, writeGgufModel } from "./gguf/gguf-model.ts";
export { type RowOrder, reordered } from "./gguf/gguf-row-order.ts";
export { sizesOfConfig } from "./gguf/gguf-sizes.ts";
export { GGUF_TYPE_NAMES } from "./gguf/gguf-types.ts";
export { GGUF_DTYPES, type GgufDtype } from "./gguf/gguf-types-of-model.ts";
export { type GgufToWrite, writeGguf } from "./gguf/gguf-writer.ts";
export { decodeHalf, encodeHalf, type HalfKind } from "./half.ts";
export { isElsewhere } from "./images/image-file.ts";
export {
  createImageProcessor,
  type ImageProcessor,
  loadImageProcessor,
  type OpenedImage,
} from "./images/image-processor.ts";
export { isJsonObject, type JsonObject, readJsonObject, readTextIfPresent } from "./json-file.ts";
export { asFolderFault, makeFolder } from "./make-folder.ts";
export { toJson } from "./number-spelling.ts";
export type { OriginalType } from "./quantization/bitsandbytes.ts";
export { BLOCK_SIZES } from "./quantization/four-bit.ts";
export { blockScales, type Int4Tensor } from "./quantization/int4.ts";
export {
  bytesOf,
  dequantize,
  type Int8Tensor,
  KEPT_TYPES,
  type MadeTensor,
  QUANTIZATION_TYPES,
  type QuantizationOptions,
  type QuantizationType,
  type QuantizedTensor,
  quantize,
  quantizedBytes,
  quantizeLike,
} from "./quantization/quantization.ts";
export { openQuantizedCache, type QuantizedCache } from "./quantization/quantized-cache.ts";
export {
  openSafetensors,
  type SafetensorsDtype,
  type SafetensorsFile,
  type SafetensorsTensor,
} from "./safetensors/safetensors.ts";
export { FLOAT_DTYPES, readFloat32 } from "./safetensors/safetensors-float32.ts";
export {
  type TensorData,
  type TensorToWrite,
  writeSafetensors,
  writeShardedSafetensors,
} from "./safetensors/safetensors-writer.ts";
export {
  type AddedTokens,
  enlargeTokenizer,
} from "./tokenizers/added-tokens.ts";
export {
  type EncodeChatOptions,
  type EncodedChat,
  encodeChat,
  type ImagePrompts,
  NO_IMAGES,
  type RenderOptions,
  renderChat,
} from "./tokenizers/chat-template.ts";
export { commonPrefix } from "./tokenizers/common-prefix.ts";
export {
  createTokenizer,
  loadTokenizerFolder,
  readTokenizerFolder,
  type TokenizerParts,
} from "./tokenizers/tokenizer.ts";
export type { ChatMessage, ContentPart, Tokenizer } from "./tokenizers/tokenizer-types.ts";
export { writeTokenizer } from "./tokenizers/write-tokenizer.ts";
export { untilAborted } from "./until-aborted.ts";
export { createWideArray } from "./widening/widening.ts";
