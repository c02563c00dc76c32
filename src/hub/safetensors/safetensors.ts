// Reads safetensors files. The header is somebody else's claim about the file, so each of its numbers
// is checked against the file's real size before anything is allocated or read on its word.
// Format: https://github.com/huggingface/safetensors#format

import type { FileHandle } from "node:fs/promises";
import { TunesmithError } from "../../errors.ts";
import { isJsonObject, type JsonObject, parseJsonObject } from "../json-file.ts";
import { openTensorFile, readExactly, type TensorFile } from "../tensor-file.ts";

/** Bytes of one element, for every dtype that a file may name. */
export const SAFETENSORS_ELEMENT_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  F64: 8,
  I64: 8,
  U64: 8,
  C64: 8,
} as const satisfies Record<string, number>;

export type SafetensorsDtype = keyof typeof SAFETENSORS_ELEMENT_BYTES;

export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  /** From the start of the file, so that other programs can map the tensor where it lies. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

export interface SafetensorsFile extends TensorFile<SafetensorsTensor> {
  readonly metadata: Readonly<Record<string, string>>;
}

/** The limit of the reference implementation; real headers are a few hundred KiB. */
const MAX_HEADER_BYTES = 100_000_000;

/**
 * Opens a safetensors file and checks its whole header.
 * Throws a TunesmithError ("checkpoint") for a file that is missing, truncated or lies about itself.
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return openTensorFile(path, (file) => readHeader(file, path));
}

function fault(path: string, rule: string, seen: string): TunesmithError {
  return new TunesmithError("checkpoint", {
    where: path,
    rule,
    seen,
    fix: "fetch or save the file again; it is damaged or not a safetensors file",
  });
}

async function readHeader(file: FileHandle, path: string) {
  const { size } = await file.stat();
  if (size < 8)
    throw fault(path, "a safetensors file starts with 8 bytes of length", `${size} bytes`);
  const prefix = new Uint8Array(8);
  await readExactly(file, path, 0, prefix);
  const length = Number(new DataView(prefix.buffer).getBigUint64(0, true));
  if (length > size - 8)
    throw fault(
      path,
      "the header must lie within the file",
      `a header of ${length} bytes in a file of ${size} bytes`,
    );
  if (length > MAX_HEADER_BYTES)
    throw fault(path, `a header has at most ${MAX_HEADER_BYTES} bytes`, `${length} bytes`);
  const bytes = new Uint8Array(length);
  await readExactly(file, path, 8, bytes);
  if (bytes[0] !== 0x7b) throw fault(path, 'the header must begin with "{"', "another byte");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw fault(path, "the header must be UTF-8 text", "bytes that are not");
  }
  const header = parseJsonObject(text, `${path} (header)`);

  const { __metadata__: metadata = {}, ...entries } = header;
  if (!isTextRecord(metadata))
    throw fault(path, "__metadata__ maps names to texts", JSON.stringify(metadata).slice(0, 80));
  const tensors = new Map<string, SafetensorsTensor>();
  const dataStart = 8 + length;
  for (const [name, entry] of Object.entries(entries))
    tensors.set(name, readEntry(path, name, entry, dataStart, size));
  const repeated = repeatedKey(text);
  if (repeated !== undefined)
    throw fault(path, "every tensor is named once", `"${repeated}" twice in the header`);
  checkLayout(path, tensors, dataStart, size);
  return { tensors, metadata };
}

function isTextRecord(value: unknown): value is Record<string, string> {
  return isJsonObject(value) && Object.values(value).every((text) => typeof text === "string");
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function readEntry(
  path: string,
  name: string,
  entry: unknown,
  dataStart: number,
  fileSize: number,
): SafetensorsTensor {
  const where = `${path} (tensor "${name.slice(0, 200)}")`;
  if (!isJsonObject(entry)) throw fault(where, "an entry is an object", typeof entry);
  const { dtype, shape, data_offsets: offsets } = entry as JsonObject;
  if (typeof dtype !== "string" || !Object.hasOwn(SAFETENSORS_ELEMENT_BYTES, dtype))
    throw fault(
      where,
      `dtype is one of ${Object.keys(SAFETENSORS_ELEMENT_BYTES).join(", ")}`,
      String(dtype).slice(0, 80),
    );
  if (!Array.isArray(shape) || shape.length > 64 || !shape.every(isCount))
    throw fault(where, "shape is a list of whole numbers", briefly(shape));
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
    throw fault(where, "data_offsets are two whole numbers", briefly(offsets));
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw fault(where, "data_offsets begin before they end", briefly(offsets));
  if (dataStart + end > fileSize)
    throw fault(
      where,
      "the tensor must lie within the file",
      `its end at byte ${dataStart + end} of ${fileSize} (the file is truncated?)`,
    );
  const elementBytes = SAFETENSORS_ELEMENT_BYTES[dtype as SafetensorsDtype];
  const byteLength = shape.reduce((product: number, size: number) => product * size, elementBytes);
  if (byteLength !== end - begin)
    throw fault(
      where,
      "shape and dtype must agree with the bytes set aside",
      `${dtype} [${shape.join(", ")}] needs ${byteLength} bytes, data_offsets give ${end - begin}`,
    );
  return {
    name,
    dtype: dtype as SafetensorsDtype,
    shape: shape as number[],
    byteOffset: dataStart + begin,
    byteLength,
  };
}

/** The format wants the data covered exactly: no byte of it in two tensors, none in no tensor. */
function checkLayout(
  path: string,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  dataStart: number,
  fileSize: number,
): void {
  const order = [...tensors.values()].sort(
    (a, b) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength,
  );
  let expected = dataStart;
  for (const tensor of order) {
    if (tensor.byteOffset !== expected)
      throw fault(
        path,
        "tensors lie one after the other without gaps or overlaps",
        `"${tensor.name}" at byte ${tensor.byteOffset} where ${expected} is next`,
      );
    expected += tensor.byteLength;
  }
  if (expected !== fileSize)
    throw fault(
      path,
      "the last tensor ends where the file ends",
      `${fileSize - expected} bytes more than the header describes`,
    );
}

function briefly(value: unknown): string {
  return (JSON.stringify(value) ?? "nothing").slice(0, 80);
}

/**
 * The first key that the outermost object has twice. JSON.parse keeps the last one silently, which
 * would let two readers of one file see different tensors. Every entry is known to be an object by
 * now, so each string at depth 1 is a key.
 */
function repeatedKey(text: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (const [symbol] of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]]/g)) {
    if (symbol === "{" || symbol === "[") depth++;
    else if (symbol === "}" || symbol === "]") depth--;
    else if (depth === 1) {
      const key = JSON.parse(symbol) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}
