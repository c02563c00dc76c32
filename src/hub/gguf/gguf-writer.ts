// Writing GGUF files (version 3) of float32 tensors, as llama.cpp reads them.

import { writeAtomically } from "../atomic-file.ts";
import { GGML_TYPES } from "./gguf-types.ts";

export type GgufValue =
  | { readonly string: string }
  | { readonly uint32: number }
  | { readonly float32: number };

export interface GgufToWrite {
  /** `general.architecture` first, as readers expect it. */
  readonly metadata: readonly (readonly [key: string, value: GgufValue])[];
  /** Shapes as PyTorch has them, slowest axis first. */
  readonly tensors: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly data: Float32Array;
  }[];
}

const VERSION = 3;
const ALIGNMENT = 32;
const VALUE_TYPES = { uint32: 4, float32: 6, string: 8 } as const;

/** Writes the file, wholly or not at all. */
export async function writeGguf(path: string, { metadata, tensors }: GgufToWrite): Promise<void> {
  let offset = 0;
  const infos = tensors.flatMap(({ name, shape, data }) => {
    const info = [
      text(name),
      uint32(shape.length),
      ...shape.toReversed().map(uint64),
      uint32(GGML_TYPES.F32.id),
      uint64(offset),
    ];
    offset += aligned(data.byteLength);
    return info;
  });
  const header = Buffer.concat([
    Buffer.from("GGUF"),
    uint32(VERSION),
    uint64(tensors.length),
    uint64(metadata.length),
    ...metadata.flatMap(([key, value]) => [text(key), encodeValue(value)]),
    ...infos,
  ]);
  await writeAtomically(path, async (file) => {
    await file.write(padded(header));
    for (const { data } of tensors)
      await file.write(padded(Buffer.from(data.buffer, data.byteOffset, data.byteLength)));
  });
}

function encodeValue(value: GgufValue): Buffer {
  if ("string" in value) return Buffer.concat([uint32(VALUE_TYPES.string), text(value.string)]);
  if ("uint32" in value) return Buffer.concat([uint32(VALUE_TYPES.uint32), uint32(value.uint32)]);
  const number = Buffer.alloc(4);
  number.writeFloatLE(value.float32);
  return Buffer.concat([uint32(VALUE_TYPES.float32), number]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint64(bytes.length), bytes]);
}

const aligned = (size: number): number => Math.ceil(size / ALIGNMENT) * ALIGNMENT;

const padded = (bytes: Buffer): Buffer =>
  Buffer.concat([bytes, Buffer.alloc(aligned(bytes.length) - bytes.length)]);
