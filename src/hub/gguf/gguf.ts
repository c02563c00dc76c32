// Reads the header of a GGUF file: metadata and where each tensor lies. Counts and lengths in the file
// are claims, so each is held against the bytes that are left before anything is allocated for it.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian)

import { readSync } from "node:fs";
import { TunesmithError } from "../../errors.ts";
import { openTensorFile, type TensorFile } from "../tensor-file.ts";
import { GGML_TYPES, type GgmlType, OTHER_GGML_TYPES } from "./gguf-types.ts";

/** Numbers beyond 2^53 come as bigint; arrays of numbers as typed arrays, of booleans as bytes. */
export type GgufValue =
  | number
  | bigint
  | boolean
  | string
  | GgufNumbers
  | readonly string[]
  | readonly GgufValue[];

export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

export interface GgufTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Slowest dimension first, as PyTorch has it (the file stores them the other way round). */
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

export interface GgufFile extends TensorFile<GgufTensor> {
  readonly metadata: ReadonlyMap<string, GgufValue>;
}

// A real header is a few MiB, nearly all of it vocabulary.
const MAX_HEADER_BYTES = 128 << 20;
const MAX_STRING_BYTES = 16 << 20;
const MAX_ARRAY_DEPTH = 4;
const MAX_DIMENSIONS = 4;
const WINDOW_BYTES = 1 << 20;

/** Opens a GGUF file and checks its whole header. Throws a TunesmithError ("checkpoint"). */
export async function openGguf(path: string): Promise<GgufFile> {
  return openTensorFile(path, async (file) => {
    const { size } = await file.stat();
    return readHeader(new Cursor(file.fd, path, size));
  });
}

function fault(path: string, rule: string, seen: string, fix?: string): TunesmithError {
  return new TunesmithError("checkpoint", {
    where: path,
    rule,
    seen,
    fix: fix ?? "fetch the file again; it is truncated, damaged or not a GGUF file",
  });
}

/** Walks through the header, reading ahead in windows; nothing is read beyond the file or the limit. */
class Cursor {
  readonly path: string;
  readonly fileSize: number;
  readonly #fd: number;
  readonly #limit: number;
  #window = new Uint8Array(0);
  #windowStart = 0;
  #position = 0;

  constructor(fd: number, path: string, fileSize: number) {
    this.#fd = fd;
    this.path = path;
    this.fileSize = fileSize;
    this.#limit = Math.min(fileSize, MAX_HEADER_BYTES);
  }

  get position(): number {
    return this.#position;
  }

  get remaining(): number {
    return this.#limit - this.#position;
  }

  /** The next `count` bytes, valid until the next call. */
  take(count: number, what: string): DataView {
    if (count > this.remaining)
      throw fault(
        this.path,
        `the header must lie within the file's first ${this.#limit} bytes`,
        `${what} of ${count} bytes at byte ${this.#position}, ${this.remaining} bytes from the end`,
      );
    let from = this.#position - this.#windowStart;
    if (from + count > this.#window.length) {
      this.#refill(count);
      from = 0;
    }
    this.#position += count;
    return new DataView(this.#window.buffer, this.#window.byteOffset + from, count);
  }

  #refill(count: number): void {
    const length = Math.min(this.remaining, Math.max(count, WINDOW_BYTES));
    const window = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const read = readSync(this.#fd, window, done, length - done, this.#position + done);
      if (read === 0)
        throw fault(this.path, "the file must not shrink while it is read", "its end");
      done += read;
    }
    this.#window = window;
    this.#windowStart = this.#position;
  }

  uint32(what: string): number {
    return this.take(4, what).getUint32(0, true);
  }

  /** A 64-bit count or offset; beyond 2^53 it cannot be true of any file. */
  count(what: string): number {
    const value = this.take(8, what).getBigUint64(0, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw fault(this.path, `${what} must be a possible number`, String(value));
    return Number(value);
  }

  string(what: string): string {
    const length = this.count(`the length of ${what}`);
    if (length > MAX_STRING_BYTES)
      throw fault(this.path, `${what} has at most ${MAX_STRING_BYTES} bytes`, `${length} bytes`);
    const { buffer, byteOffset } = this.take(length, what);
    return TEXT.decode(new Uint8Array(buffer, byteOffset, length));
  }
}

const TEXT = new TextDecoder("utf-8", { ignoreBOM: true });

interface ScalarType {
  readonly bytes: number;
  read(view: DataView): GgufValue;
  /** Absent for types whose arrays are not typed ones. */
  array?: new (
    buffer: ArrayBuffer,
  ) => GgufNumbers;
}

const whole = (value: bigint): number | bigint =>
  Number.isSafeInteger(Number(value)) ? Number(value) : value;

/** By the type number in the file. */
const SCALAR_TYPES: Readonly<Record<number, ScalarType>> = {
  0: { bytes: 1, read: (view) => view.getUint8(0), array: Uint8Array },
  1: { bytes: 1, read: (view) => view.getInt8(0), array: Int8Array },
  2: { bytes: 2, read: (view) => view.getUint16(0, true), array: Uint16Array },
  3: { bytes: 2, read: (view) => view.getInt16(0, true), array: Int16Array },
  4: { bytes: 4, read: (view) => view.getUint32(0, true), array: Uint32Array },
  5: { bytes: 4, read: (view) => view.getInt32(0, true), array: Int32Array },
  6: { bytes: 4, read: (view) => view.getFloat32(0, true), array: Float32Array },
  7: { bytes: 1, read: (view) => view.getUint8(0) !== 0, array: Uint8Array },
  10: { bytes: 8, read: (view) => whole(view.getBigUint64(0, true)), array: BigUint64Array },
  11: { bytes: 8, read: (view) => whole(view.getBigInt64(0, true)), array: BigInt64Array },
  12: { bytes: 8, read: (view) => view.getFloat64(0, true), array: Float64Array },
};
const STRING_TYPE = 8;
const ARRAY_TYPE = 9;

function readValue(cursor: Cursor, type: number, key: string, depth = 0): GgufValue {
  if (type === STRING_TYPE) return cursor.string(key);
  if (type === ARRAY_TYPE) return readArray(cursor, key, depth);
  const scalar = SCALAR_TYPES[type];
  if (!scalar) throw fault(cursor.path, `${key} must have a known type`, `type number ${type}`);
  return scalar.read(cursor.take(scalar.bytes, key));
}

function readArray(cursor: Cursor, key: string, depth: number): GgufValue {
  if (depth >= MAX_ARRAY_DEPTH)
    throw fault(cursor.path, `arrays nest at most ${MAX_ARRAY_DEPTH} deep`, `${key} nests deeper`);
  const type = cursor.uint32(key);
  const length = cursor.count(`the length of ${key}`);
  const scalar = SCALAR_TYPES[type];
  if (scalar?.array) {
    const { buffer, byteOffset, byteLength } = cursor.take(length * scalar.bytes, key);
    // A copy: the cursor's window is neither aligned nor long-lived.
    return new scalar.array(new Uint8Array(buffer, byteOffset, byteLength).slice().buffer);
  }
  const leastBytes = type === ARRAY_TYPE ? 12 : 8;
  if (length * leastBytes > cursor.remaining)
    throw fault(
      cursor.path,
      `${key} must lie within the file's header`,
      `${length} elements with ${cursor.remaining} bytes left`,
    );
  const values: GgufValue[] = [];
  for (let i = 0; i < length; i++) values.push(readValue(cursor, type, key, depth + 1));
  return values;
}

function readHeader(cursor: Cursor) {
  const { path } = cursor;
  if (cursor.uint32("the magic number") !== 0x46554747)
    throw fault(path, 'a GGUF file begins with "GGUF"', "other bytes");
  const version = cursor.uint32("the version");
  if (version !== 2 && version !== 3)
    throw fault(
      path,
      "the GGUF version is 2 or 3, in little-endian order",
      `version ${version}`,
      "convert the model again with a current llama.cpp",
    );
  const tensorCount = cursor.count("the number of tensors");
  const metadataCount = cursor.count("the number of metadata entries");
  // The least that an entry can take: a tensor 8 + 4 + 4 + 8 bytes, a metadata entry 8 + 4 + 1.
  if (tensorCount * 24 + metadataCount * 13 > cursor.remaining)
    throw fault(
      path,
      "the header must have room for its entries",
      `${tensorCount} tensors and ${metadataCount} metadata entries in ${cursor.remaining} bytes`,
    );
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < metadataCount; i++) {
    const key = cursor.string("a metadata key");
    if (metadata.has(key)) throw fault(path, "a metadata key occurs once", `"${key}" twice`);
    metadata.set(key, readValue(cursor, cursor.uint32(key), key));
  }
  const entries: Omit<GgufTensor, "byteLength">[] = [];
  for (let i = 0; i < tensorCount; i++) entries.push(readTensorInfo(cursor));

  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || ![8, 16, 32, 64, 128, 256, 4096].includes(alignment))
    throw fault(path, "general.alignment is a power of two", String(alignment).slice(0, 40));
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  return { metadata, tensors: placeTensors(cursor, entries, dataStart) };
}

function readTensorInfo(cursor: Cursor): Omit<GgufTensor, "byteLength"> {
  const name = cursor.string("a tensor name");
  const where = `${cursor.path} (tensor "${name.slice(0, 120)}")`;
  const dimensions = cursor.uint32("a tensor's rank");
  if (dimensions < 1 || dimensions > MAX_DIMENSIONS)
    throw fault(where, `a tensor has 1 to ${MAX_DIMENSIONS} dimensions`, String(dimensions));
  const shape: number[] = [];
  for (let i = 0; i < dimensions; i++) shape.unshift(cursor.count("a dimension"));
  const typeId = cursor.uint32("a tensor's type");
  const type = TYPE_BY_ID.get(typeId);
  if (!type)
    throw fault(
      where,
      `tensor types that can be read are ${Object.keys(GGML_TYPES).join(", ")}`,
      OTHER_GGML_TYPES[typeId] ?? `type number ${typeId}`,
      "take another quantisation of the model, such as Q8_0 or Q4_K_M",
    );
  return { name, type, shape, byteOffset: cursor.count("a tensor's offset") };
}

const TYPE_BY_ID = new Map<number, GgmlType>(
  (Object.keys(GGML_TYPES) as GgmlType[]).map((type) => [GGML_TYPES[type].id, type]),
);

/** Checks sizes and places against the file; offsets become absolute. */
function placeTensors(
  { path, fileSize }: Cursor,
  entries: readonly Omit<GgufTensor, "byteLength">[],
  dataStart: number,
): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>();
  for (const entry of entries) {
    const { name, type, shape } = entry;
    const where = `${path} (tensor "${name.slice(0, 120)}")`;
    const { blockElements, blockBytes } = GGML_TYPES[type];
    const columns = shape.at(-1)!;
    if (columns % blockElements !== 0)
      throw fault(
        where,
        `rows of ${type} are whole blocks of ${blockElements}`,
        `rows of ${columns}`,
      );
    const elements = shape.reduce((product, size) => product * size, 1);
    const byteLength = (elements / blockElements) * blockBytes;
    const byteOffset = dataStart + entry.byteOffset;
    if (byteOffset + byteLength > fileSize)
      throw fault(
        where,
        "the tensor must lie within the file",
        `${type} [${shape.join(", ")}], its end at byte ${byteOffset + byteLength} of ${fileSize}`,
      );
    if (tensors.has(name)) throw fault(where, "a tensor is named once", "the name twice");
    tensors.set(name, { name, type, shape, byteOffset, byteLength });
  }
  let end = dataStart;
  for (const tensor of [...tensors.values()].sort((a, b) => a.byteOffset - b.byteOffset)) {
    if (tensor.byteLength > 0 && tensor.byteOffset < end)
      throw fault(path, "tensors do not overlap", `"${tensor.name}" begins inside another`);
    end = Math.max(end, tensor.byteOffset + tensor.byteLength);
  }
  return tensors;
}
