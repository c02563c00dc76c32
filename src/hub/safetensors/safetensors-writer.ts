// Writes safetensors files, whole or in shards, with the file names and the index that Transformers
// reads. Tensors are streamed, so a large model is never in memory twice.

import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { TunesmithError } from "../../errors.ts";
import { writeAtomically, writeFileAtomically } from "../atomic-file.ts";
import { encodeHalf, type HalfKind } from "../half.ts";
import { SAFETENSORS_ELEMENT_BYTES, type SafetensorsDtype } from "./safetensors.ts";

/** Bytes as stored, or float32 values that are encoded on the way (dtype F32, F16 or BF16). */
export type TensorData = Uint8Array | Float32Array;

export interface TensorToWrite {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** A function is called when its turn comes, so that only one tensor need be in memory. */
  readonly data: TensorData | (() => TensorData | Promise<TensorData>);
}

const PYTORCH_METADATA = { format: "pt" };
const CHUNK_ELEMENTS = 1 << 20;

/**
 * Writes one safetensors file, atomically. The metadata `{ format: "pt" }` is what Transformers and
 * PEFT insist on. Tensors with wide elements come first, as the reference writer has it, so that
 * each is aligned to its element size.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = PYTORCH_METADATA,
): Promise<void> {
  const order = [...tensors].sort(
    (a, b) =>
      SAFETENSORS_ELEMENT_BYTES[b.dtype] - SAFETENSORS_ELEMENT_BYTES[a.dtype] ||
      (a.name < b.name ? -1 : 1),
  );
  const header: [string, unknown][] = [["__metadata__", metadata]];
  const names = new Set(["__metadata__"]);
  let offset = 0;
  for (const tensor of order) {
    if (names.has(tensor.name))
      throw new RangeError(`the tensor name "${tensor.name}" is used twice`);
    names.add(tensor.name);
    const { dtype, shape } = tensor;
    const end = offset + byteLengthOf(tensor);
    header.push([tensor.name, { dtype, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const headerLength = Math.ceil(json.length / 8) * 8;
  const start = new Uint8Array(8 + headerLength).fill(0x20);
  new DataView(start.buffer).setBigUint64(0, BigInt(headerLength), true);
  start.set(json, 8);

  await writeAtomically(path, async (file) => {
    await writeAll(file, start);
    for (const tensor of order) await writeTensor(file, path, tensor);
  });
}

/**
 * Writes `model.safetensors`, or, where the tensors exceed `maxShardBytes` (default 5 GB, as in
 * Transformers), `model-00001-of-0000N.safetensors` with `model.safetensors.index.json`, last.
 * Returns the names of the files written.
 */
export async function writeShardedSafetensors(
  folder: string,
  tensors: readonly TensorToWrite[],
  options: { maxShardBytes?: number | undefined; metadata?: Readonly<Record<string, string>> } = {},
): Promise<string[]> {
  const { maxShardBytes = 5e9, metadata = PYTORCH_METADATA } = options;
  const shards: TensorToWrite[][] = [];
  let room = 0;
  let totalBytes = 0;
  for (const tensor of tensors) {
    const bytes = byteLengthOf(tensor);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = maxShardBytes;
    }
    shards.at(-1)!.push(tensor);
    room -= bytes;
    totalBytes += bytes;
  }
  if (shards.length <= 1) {
    await writeSafetensors(join(folder, "model.safetensors"), tensors, metadata);
    return ["model.safetensors"];
  }
  const pad = (number: number) => String(number).padStart(5, "0");
  const weightMap: Record<string, string> = {};
  const files: string[] = [];
  for (const [index, shard] of shards.entries()) {
    const name = `model-${pad(index + 1)}-of-${pad(shards.length)}.safetensors`;
    await writeSafetensors(join(folder, name), shard, metadata);
    for (const tensor of shard) weightMap[tensor.name] = name;
    files.push(name);
  }
  const index = { metadata: { total_size: totalBytes }, weight_map: weightMap };
  const indexName = "model.safetensors.index.json";
  await writeFileAtomically(join(folder, indexName), `${JSON.stringify(index, null, 2)}\n`);
  return [...files, indexName];
}

function byteLengthOf({ dtype, shape }: TensorToWrite): number {
  return shape.reduce((product, size) => product * size, SAFETENSORS_ELEMENT_BYTES[dtype]);
}

async function writeTensor(file: FileHandle, path: string, tensor: TensorToWrite): Promise<void> {
  const data = typeof tensor.data === "function" ? await tensor.data() : tensor.data;
  const expected = byteLengthOf(tensor);
  const bytes =
    data instanceof Float32Array
      ? data.length * SAFETENSORS_ELEMENT_BYTES[tensor.dtype]
      : data.byteLength;
  if (bytes !== expected)
    throw new TunesmithError("shape", {
      where: `${path} (tensor "${tensor.name}")`,
      rule: `${tensor.dtype} [${tensor.shape.join(", ")}] is ${expected} bytes`,
      seen: `data of ${bytes} bytes`,
      fix: "give the data that belongs to the shape",
    });
  if (data instanceof Uint8Array) await writeAll(file, data);
  else if (tensor.dtype === "F32") await writeAll(file, bytesOf(data));
  else if (tensor.dtype === "F16" || tensor.dtype === "BF16")
    await writeHalves(file, data, tensor.dtype);
  else throw new RangeError(`float32 values cannot be written as ${tensor.dtype}`);
}

async function writeHalves(file: FileHandle, data: Float32Array, kind: HalfKind): Promise<void> {
  const scratch = new Uint16Array(Math.min(CHUNK_ELEMENTS, data.length));
  for (let start = 0; start < data.length; start += CHUNK_ELEMENTS) {
    const part = data.subarray(start, start + CHUNK_ELEMENTS);
    encodeHalf(part, kind, scratch);
    await writeAll(file, bytesOf(scratch.subarray(0, part.length)));
  }
}

function bytesOf(view: Float32Array | Uint16Array): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  let done = 0;
  while (done < bytes.byteLength) {
    const wanted = Math.min(bytes.byteLength - done, 2 ** 30);
    done += (await file.write(bytes, done, wanted)).bytesWritten;
  }
}
