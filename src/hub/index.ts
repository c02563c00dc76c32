// Files other people wrote: checkpoints, tokenizers, chat templates, adapters, hub downloads.

export { writeAtomically, writeFileAtomically } from "./atomic-file.ts";
export {
  type EncodeChatOptions,
  type EncodedChat,
  encodeChat,
  type RenderOptions,
  renderChat,
} from "./chat-template.ts";
export { openCheckpoint } from "./checkpoint.ts";
export type { Checkpoint, CheckpointTensor } from "./checkpoint-types.ts";
export { decodeHalf, encodeHalf, type HalfKind } from "./half.ts";
export { type JsonObject, readJsonObject } from "./json-file.ts";
export {
  openSafetensors,
  SAFETENSORS_ELEMENT_BYTES,
  type SafetensorsDtype,
  type SafetensorsFile,
  type SafetensorsTensor,
} from "./safetensors.ts";
export {
  type TensorData,
  type TensorToWrite,
  writeSafetensors,
  writeShardedSafetensors,
} from "./safetensors-writer.ts";
export { loadTokenizerFolder } from "./tokenizer.ts";
export type { ChatMessage, Tokenizer } from "./tokenizer-types.ts";
