// Reads the header of a GGUF file: metadata and where each tensor lies.
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian)

import { openTensorFile, type TensorFile } from "../tensor-file.ts";
import { GgufCursor, ggufFault } from "./gguf-cursor.ts";
import { GGML_TYPES, type GgmlType, OTHER_GGML_TYPES } from "./gguf-types.ts";
import { type GgufValue, readGgufValue } from "./gguf-values.ts";

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

const MAX_DIMENSIONS = 4;

/** Opens a GGUF file and checks its whole header. Throws a TunesmithError ("checkpoint"). */
export async function openGguf(path: string): Promise<GgufFile> {
  return openTensorFile(path, async (file) => {
    const { size } = await file.stat();
    return readHeader(new GgufCursor(file.fd, path, size));
  });
}

function readHeader(cursor: GgufCursor) {
  const { path } = cursor;
  if (cursor.uint32("the magic number") !== 0x46554747)
    throw ggufFault(path, 'a GGUF file begins with "GGUF"', "other bytes");
  const version = cursor.uint32("the version");
  if (version !== 2 && version !== 3)
    throw ggufFault(
      path,
      "the GGUF version is 2 or 3, in little-endian order",
      `version ${version}`,
      "convert the model again with a current llama.cpp",
    );
  const tensorCount = cursor.count("the number of tensors");
  const metadataCount = cursor.count("the number of metadata entries");
  // The least that an entry can take: a tensor 8 + 4 + 4 + 8 bytes, a metadata entry 8 + 4 + 1.
  if (tensorCount * 24 + metadataCount * 13 > cursor.remaining)
    throw ggufFault(
      path,
      "the header must have room for its entries",
      `${tensorCount} tensors and ${metadataCount} metadata entries in ${cursor.remaining} bytes`,
    );
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < metadataCount; i++) {
    const key = cursor.string("a metadata key");
    if (metadata.has(key)) throw ggufFault(path, "a metadata key occurs once", `"${key}" twice`);
    metadata.set(key, readGgufValue(cursor, cursor.uint32(key), key));
  }
  const entries: Omit<GgufTensor, "byteLength">[] = [];
  for (let i = 0; i < tensorCount; i++) entries.push(readTensorInfo(cursor));

  const alignment = metadata.get("general.alignment") ?? 32;
  if (typeof alignment !== "number" || ![8, 16, 32, 64, 128, 256, 4096].includes(alignment))
    throw ggufFault(path, "general.alignment is a power of two", String(alignment).slice(0, 40));
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  return { metadata, tensors: placeTensors(cursor, entries, dataStart) };
}

function readTensorInfo(cursor: GgufCursor): Omit<GgufTensor, "byteLength"> {
  const name = cursor.string("a tensor name");
  const where = `${cursor.path} (tensor "${name.slice(0, 120)}")`;
  const dimensions = cursor.uint32("a tensor's rank");
  if (dimensions < 1 || dimensions > MAX_DIMENSIONS)
    throw ggufFault(where, `a tensor has 1 to ${MAX_DIMENSIONS} dimensions`, String(dimensions));
  const shape: number[] = [];
  for (let i = 0; i < dimensions; i++) shape.unshift(cursor.count("a dimension"));
  const typeId = cursor.uint32("a tensor's type");
  const type = TYPE_BY_ID.get(typeId);
  if (!type)
    throw ggufFault(
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
  { path, fileSize }: GgufCursor,
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
      throw ggufFault(
        where,
        `rows of ${type} are whole blocks of ${blockElements}`,
        `rows of ${columns}`,
      );
    const elements = shape.reduce((product, size) => product * size, 1);
    const byteLength = (elements / blockElements) * blockBytes;
    const byteOffset = dataStart + entry.byteOffset;
    if (byteOffset + byteLength > fileSize)
      throw ggufFault(
        where,
        "the tensor must lie within the file",
        `${type} [${shape.join(", ")}], its end at byte ${byteOffset + byteLength} of ${fileSize}`,
      );
    if (tensors.has(name)) throw ggufFault(where, "a tensor is named once", "the name twice");
    tensors.set(name, { name, type, shape, byteOffset, byteLength });
  }
  let end = dataStart;
  for (const tensor of [...tensors.values()].sort((a, b) => a.byteOffset - b.byteOffset)) {
    if (tensor.byteLength > 0 && tensor.byteOffset < end)
      throw ggufFault(path, "tensors do not overlap", `"${tensor.name}" begins inside another`);
    end = Math.max(end, tensor.byteOffset + tensor.byteLength);
  }
  return tensors;
}
