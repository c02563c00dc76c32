// A GGUF file as a checkpoint: Hugging Face names, shapes and row order over ggml's tensors.

import { TunesmithError } from "../../errors.ts";
import type { Checkpoint, CheckpointTensor } from "../checkpoint-types.ts";
import { missingTensor } from "../tensor-file.ts";
import { type GgufFile, openGguf } from "./gguf.ts";
import { architectureOfGguf, partOf } from "./gguf-architectures.ts";
import { configOfGguf, type StoredTensor, storedTensors } from "./gguf-config.ts";
import { DEQUANTIZERS } from "./gguf-dequantize.ts";
import { FACTOR_TENSORS, type RopeFactors } from "./gguf-rope.ts";
import type { RowOrder } from "./gguf-row-order.ts";
import { writeTokenizerFiles } from "./gguf-side-files.ts";
import { generationConfigGguf, loadTokenizerGguf, tokenizerPartsGguf } from "./gguf-tokenizer.ts";
import { GGML_TYPES } from "./gguf-types.ts";

const CHUNK_BYTES = 4 << 20;

/** Opens a `.gguf` file of a known architecture. Throws a TunesmithError ("checkpoint"). */
export async function openGgufCheckpoint(path: string): Promise<Checkpoint> {
  const file = await openGguf(path);
  try {
    const architecture = architectureOfGguf(file);
    const { config, sizes } = configOfGguf(file, architecture, await readRopeFactors(file));
    const stored = storedTensors(file, architecture);
    const generationConfig = generationConfigGguf(file);
    const orderOf = ({ tensor }: StoredTensor) =>
      architecture.rows?.(partOf(tensor.name), sizes, config);
    const offsetOf = ({ tensor }: StoredTensor) =>
      tensor.name.endsWith("_norm.weight") ? (architecture.normOffset ?? 0) : 0;
    const tensors = new Map<string, CheckpointTensor>();
    for (const [name, part] of stored) {
      const { tensor, shape, from, byteLength } = part;
      const order = orderOf(part);
      const direct =
        GGML_TYPES[tensor.type].blockElements === 1 && order === undefined && offsetOf(part) === 0;
      const location = { path, byteOffset: tensor.byteOffset + from, byteLength };
      tensors.set(name, { name, shape, dtype: tensor.type, ...(direct && { location }) });
      if (offsetOf(part) !== 0 && tensor.type !== "F32")
        throw new TunesmithError("checkpoint", {
          where: `${path} (tensor "${tensor.name}")`,
          rule: "norms of this architecture are F32",
          seen: tensor.type,
          fix: "convert the model again with llama.cpp",
        });
      if (order !== undefined && shape[0] !== order.rows)
        throw new TunesmithError("checkpoint", {
          where: `${path} (tensor "${tensor.name}")`,
          rule: `${order.rows / sizes.headSize} heads of ${sizes.headSize} make ${order.rows} rows`,
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
        await readRows(file, part, target, DEQUANTIZERS[part.tensor.type], orderOf(part));
        const offset = offsetOf(part);
        if (offset !== 0) for (let i = 0; i < target.length; i++) target[i]! -= offset;
      },
      async readRawInto(name, target) {
        const part = find(name);
        const { type } = part.tensor;
        if (GGML_TYPES[type].blockElements > 1)
          throw new TypeError(`${name} is ${type}; only unquantised tensors have raw values`);
        await readRows(file, part, target, (bytes, rows) => rows.set(bytes), orderOf(part));
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

async function readRopeFactors(file: GgufFile): Promise<RopeFactors> {
  const factors: RopeFactors = {};
  for (const [kind, name] of Object.entries(FACTOR_TENSORS)) {
    const tensor = file.tensors.get(name);
    if (!tensor) continue;
    const { shape, byteLength } = tensor;
    const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
    const part = { tensor, shape, from: 0, byteLength };
    await readRows(file, part, values, DEQUANTIZERS[tensor.type], undefined);
    factors[kind as keyof RopeFactors] = values;
  }
  return factors;
}

/**
 * Reads a tensor a few MiB of rows at a time, `decode`s them and puts each where it belongs, in the file's
 * order or in another.
 */
async function readRows<Target extends Float32Array | Uint8Array>(
  file: GgufFile,
  { tensor, shape, from: start, byteLength }: StoredTensor,
  target: Target,
  decode: (bytes: Uint8Array, target: Target) => void,
  order: RowOrder | undefined,
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
    if (order === undefined) decode(bytes, part(from, count));
    else
      for (let row = 0; row < count; row++)
        decode(
          bytes.subarray(row * rowBytes, (row + 1) * rowBytes),
          part(order.source(from + row), 1),
        );
  }
}
