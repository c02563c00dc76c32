// Writing GGUF files (version 3), as llama.cpp reads them. Tensors are encoded and written a few rows at
// a time, so that no more than one of them need be in memory.

import type { FileHandle } from "node:fs/promises";
import { writeAtomically } from "../atomic-file.ts";
import { QUANTIZERS, type WrittenType } from "./gguf-quantize.ts";
import { GGML_TYPES } from "./gguf-types.ts";

export type GgufEntry =
  | { readonly string: string }
  | { readonly bool: boolean }
  | { readonly uint32: number }
  | { readonly float32: number }
  | { readonly strings: readonly string[] }
  | { readonly int32s: Int32Array }
  | { readonly float32s: Float32Array };

/** Values in the order that they are stored in; a function is called when its turn comes. */
export type GgufData = Float32Array | (() => Float32Array | Promise<Float32Array>);

export interface GgufTensorToWrite {
  readonly name: string;
  /** As PyTorch has it, slowest axis first. */
  readonly shape: readonly number[];
  readonly type: WrittenType;
  /** One behind the other along the slowest axis: the experts of a layer; usually one. */
  readonly parts: readonly GgufData[];
}

export interface GgufToWrite {
  /** `general.architecture` first, as readers expect it. */
  readonly metadata: readonly (readonly [key: string, value: GgufEntry])[];
  readonly tensors: readonly GgufTensorToWrite[];
}

const VERSION = 3;
const ALIGNMENT = 32;
const VALUE_TYPES = { uint32: 4, int32: 5, float32: 6, bool: 7, string: 8, array: 9 } as const;
const CHUNK_ELEMENTS = 1 << 20;

/**
 * Writes the file, wholly or not at all.
 * @throws TunesmithError (run) where the disk refuses
 */
export async function writeGguf(path: string, { metadata, tensors }: GgufToWrite): Promise<void> {
  let offset = 0;
  const infos = tensors.flatMap((tensor) => {
    const { name, shape, type } = tensor;
    const info = [
      text(name),
      uint32(shape.length),
      ...shape.toReversed().map(uint64),
      uint32(GGML_TYPES[type].id),
      uint64(offset),
    ];
    offset += aligned(byteLengthOf(tensor));
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
    await writeAll(file, header);
    await writeAll(file, padding(header.length));
    for (const tensor of tensors) await writeTensor(file, tensor);
  });
}

const elementsOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

function byteLengthOf({ shape, type }: GgufTensorToWrite): number {
  const { blockBytes, blockElements } = GGML_TYPES[type];
  return (elementsOf(shape) / blockElements) * blockBytes;
}

async function writeTensor(file: FileHandle, tensor: GgufTensorToWrite): Promise<void> {
  const { name, shape, type, parts } = tensor;
  const columns = shape.at(-1)!;
  const step = Math.max(1, Math.floor(CHUNK_ELEMENTS / columns)) * columns;
  const expected = elementsOf(shape) / parts.length;
  for (const part of parts) {
    const data = typeof part === "function" ? await part() : part;
    if (data.length !== expected)
      throw new RangeError(`${name} needs ${expected} elements, not ${data.length}`);
    for (let from = 0; from < data.length; from += step)
      await writeAll(file, QUANTIZERS[type](data.subarray(from, from + step)));
  }
  await writeAll(file, padding(byteLengthOf(tensor)));
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength)
    done += (await file.write(bytes, done, bytes.byteLength - done)).bytesWritten;
}

function encodeValue(value: GgufEntry): Buffer {
  if ("string" in value) return Buffer.concat([uint32(VALUE_TYPES.string), text(value.string)]);
  if ("bool" in value)
    return Buffer.concat([uint32(VALUE_TYPES.bool), Buffer.of(value.bool ? 1 : 0)]);
  if ("uint32" in value) return Buffer.concat([uint32(VALUE_TYPES.uint32), uint32(value.uint32)]);
  if ("strings" in value)
    return Buffer.concat([
      arrayHeader(VALUE_TYPES.string, value.strings.length),
      ...value.strings.map(text),
    ]);
  if ("int32s" in value) return numbers(VALUE_TYPES.int32, value.int32s);
  if ("float32s" in value) return numbers(VALUE_TYPES.float32, value.float32s);
  const number = Buffer.alloc(4);
  number.writeFloatLE(value.float32);
  return Buffer.concat([uint32(VALUE_TYPES.float32), number]);
}

const arrayHeader = (type: number, length: number): Buffer =>
  Buffer.concat([uint32(VALUE_TYPES.array), uint32(type), uint64(length)]);

const numbers = (type: number, values: Int32Array | Float32Array): Buffer =>
  Buffer.concat([
    arrayHeader(type, values.length),
    Buffer.from(values.buffer, values.byteOffset, values.byteLength),
  ]);

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

const padding = (size: number): Uint8Array => new Uint8Array(aligned(size) - size);
