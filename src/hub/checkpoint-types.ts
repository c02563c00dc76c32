// What the layers above need of a model's files, whichever format holds them.

import type { GgmlType } from "./gguf/gguf-types.ts";
import type { JsonObject } from "./json-file.ts";
import type { QuantizationType, QuantizedTensor } from "./quantization/quantization.ts";
import type { SafetensorsDtype } from "./safetensors/safetensors.ts";
import type { TokenizerParts } from "./tokenizers/tokenizer.ts";
import type { Tokenizer } from "./tokenizers/tokenizer-types.ts";

export interface CheckpointTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Of a weight that bitsandbytes quantised: what it was before; of GPTQ's and AWQ's: that of its scales. */
  readonly dtype: SafetensorsDtype | GgmlType;
  /** How it is quantised, where it can be kept so in memory: by bitsandbytes, or by GPTQ or AWQ as int4. */
  readonly quantization?: QuantizationType;
  /** Bytes that it then takes in memory. */
  readonly quantizedBytes?: number;
  /** Of a weight of GPTQ's or AWQ's that is widened when it is read: why. */
  readonly widenedFor?: string;
  /** Where the tensor's bytes lie as they are; absent where they must be decoded or reordered first. */
  readonly location?: {
    readonly path: string;
    readonly byteOffset: number;
    readonly byteLength: number;
  };
}

/** Tokens that a model has been given beyond those of its files. */
export interface NewTokens {
  /** Ids of those that something has to be learned about: all but padding. */
  readonly ids: readonly number[];
  /** Whether the embedding has more rows for them than its file. */
  readonly isGrown: boolean;
}

export interface Checkpoint {
  /** The folder or file that was opened. */
  readonly source: string;
  readonly format: "safetensors" | "gguf";
  /** `config.json` as parsed; for a GGUF, what that file would say. */
  readonly config: JsonObject;
  /** `generation_config.json` as parsed; for a GGUF, what that file would say. */
  readonly generationConfig?: JsonObject;
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** Where `tensors`, `config` and tokenizer hold more tokens than the files of `source` do. */
  readonly newTokens?: NewTokens;
  /** Decodes a tensor of any floating or quantised dtype into `target`, in bounded extra memory. */
  readFloat32Into(name: string, target: Float32Array): Promise<void>;
  /** Copies the stored bytes of an unquantised tensor, 16-bit ones for F16 and BF16. */
  readRawInto(name: string, target: Uint8Array): Promise<void>;
  /** A weight that has a `quantization`, as it is; absent where files of this format hold none. */
  readQuantized?(name: string): Promise<QuantizedTensor>;
  loadTokenizer(): Promise<Tokenizer>;
  /** What the tokenizer is made of, as the files of a model folder say it. */
  readTokenizer(): Promise<TokenizerParts>;
  /** Puts what stands beside the weights of a model folder (tokenizer, template, generation) there. */
  writeSideFiles(directory: string): Promise<void>;
  close(): Promise<void>;
}
