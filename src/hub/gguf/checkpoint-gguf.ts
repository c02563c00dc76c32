// A GGUF file as a checkpoint: Hugging Face names, shapes and row order over ggml's tensors.

import { TunesmithError } from "../../errors.ts";
import type { Checkpoint, CheckpointTensor } from "../checkpoint-types.ts";
import { missingTensor } from "../tensor-file.ts";
import { type GgufFile, openGguf } from "./gguf.ts";
import { deinterleavedRow, interleavedHeads } from "./gguf-architectures.ts";
import {
  architectureOfGguf,
  configOfGguf,
  ROPE_FACTORS,
  type StoredTensor,
  storedTensors,
} from "./gguf-config.ts";
import { DEQUANTIZERS } from "./gguf-dequantize.ts";
import { writeTokenizerFiles } from "./gguf-side-files.ts";
import { generationConfigGguf, loadTokenizerGguf, tokenizerPartsGguf } from "./gguf-tokenizer.ts";
import { GGML_TYPES } from "./gguf-types.ts";

const CHUNK_BYTES = 4 << 20;

/** Opens a `.gguf` file of a known architecture. Throws a TunesmithError ("checkpoint"). */
export async function openGgufCheckpoint(path: string): Promise<Checkpoint> {
  const file = await openGguf(path);
  try {
    const architecture = architectureOfGguf(file);
    const config = configOfGguf(file, architecture, await readRopeFactors(file));
    const stored = storedTensors(file, architecture);
    const generationConfig = generationConfigGguf(file);
    const headDimension = config.head_dim as number;
    const headsOf = ({ tensor }: StoredTensor) =>
      interleavedHeads(tensor.name, architecture, config);
    const offsetOf = ({ tensor }: StoredTensor) =>
      tensor.name.endsWith("_norm.weight") ? (architecture.normOffset ?? 0) : 0;
    const order = (part: StoredTensor) => (headsOf(part) === undefined ? {} : { headDimension });
    const tensors = new Map<string, CheckpointTensor>();
    for (const [name, part] of stored) {
      const { tensor, shape, from, byteLength } = part;
      const heads = headsOf(part);
      const direct =
        GGML_TYPES[tensor.type].blockElements === 1 && heads === undefined && offsetOf(part) === 0;
      const location = { path, byteOffset: tensor.byteOffset + from, byteLength };
      tensors.set(name, { name, shape, dtype: tensor.type, ...(direct && { location }) });
      if (offsetOf(part) !== 0 && tensor.type !== "F32")
        throw new TunesmithError("checkpoint", {
          where: `${path} (tensor "${tensor.name}")`,
          rule: "norms of this architecture are F32",
          seen: tensor.type,
          fix: "convert the model again with llama.cpp",
        });
      if (heads !== undefined && shape[0] !== heads * headDimension)
        throw new TunesmithError("checkpoint", {
          where: `${path} (tensor "${tensor.name}")`,
          rule: `${heads} heads of ${headDimension} make ${heads * headDimension} rows`,
          seen: `shape [${shape.join(", ")}]`,
          fix: "convert the model again with llama.cpp",
        });
    }
    const find = (name: string) => {
      const tensor = stored.get(name);
      if (!tensor) throw missingTensor(path, name, stored.keys());
      return tensor;
    };
    return {
      source: path,
      format: "gguf",
      config,
      generationConfig,
      tensors,
      async readFloat32Into(name, target) {
        const part = find(name);
        await readRows(file, part, target, DEQUANTIZERS[part.tensor.type], order(part));
        const offset = offsetOf(part);
        if (offset !== 0) for (let i = 0; i < target.length; i++) target[i]! -= offset;
      },
      async readRawInto(name, target) {
        const part = find(name);
        const { type } = part.tensor;
        if (GGML_TYPES[type].blockElements > 1)
          throw new TypeError(`${name} is ${type}; only unquantised tensors have raw values`);
        await readRows(file, part, target, (bytes, rows) => rows.set(bytes), order(part));
      },
      readTokenizer: async () => tokenizerPartsGguf(file),
      loadTokenizer: async () => loadTokenizerGguf(file),
      writeSideFiles: async (directory) =>
        writeTokenizerFiles(tokenizerPartsGguf(file), directory, { config, generationConfig }),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readRopeFactors(file: GgufFile): Promise<Float32Array | undefined> {
  const tensor = file.tensors.get(ROPE_FACTORS);
  if (!tensor) return undefined;
  const { shape, byteLength } = tensor;
  const factors = new Float32Array(shape.reduce((product, size) => product * size, 1));
  const part = { tensor, shape, from: 0, byteLength };
  await readRows(file, part, factors, DEQUANTIZERS[tensor.type], {});
  return factors;
}

/**
 * Reads a tensor a few MiB of rows at a time, `decode`s them and puts each where it belongs: with a
 * `headDimension`, the rows of every head are de-interleaved on the way.
 */
async function readRows<Target extends Float32Array | Uint8Array>(
  file: GgufFile,
  { tensor, shape, from: start, byteLength }: StoredTensor,
  target: Target,
  decode: (bytes: Uint8Array, target: Target) => void,
  { headDimension }: { headDimension?: number },
): Promise<void> {
  const rows = shape[0]!;
  if (rows === 0) return;
  const rowBytes = byteLength / rows;
  const rowLength = shape.reduce((product, size) => product * size, 1) / rows;
  const targetRow = target instanceof Float32Array ? rowLength : rowBytes;
  if (target.length !== targetRow * rows)
    throw new RangeError(`${tensor.name} needs ${targetRow * rows} elements, not ${target.length}`);
  const rowsAtOnce = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
  const chunk = new Uint8Array(Math.min(rowsAtOnce, rows) * rowBytes);
  for (let from = 0; from < rows; from += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, rows - from);
    const bytes = chunk.subarray(0, count * rowBytes);
    await file.readInto(tensor.name, bytes, start + from * rowBytes);
    const part = (row: number, length: number) =>
      target.subarray(row * targetRow, (row + length) * targetRow) as Target;
    if (headDimension === undefined) decode(bytes, part(from, count));
    else
      for (let row = 0; row < count; row++)
        decode(
          bytes.subarray(row * rowBytes, (row + 1) * rowBytes),
          part(deinterleavedRow(from + row, headDimension), 1),
        );
  }
}
