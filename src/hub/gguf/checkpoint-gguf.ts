// A GGUF file as a checkpoint: Hugging Face names, shapes and row order over ggml's tensors.

import { TunesmithError } from "../../errors.ts";
import type { Checkpoint, CheckpointTensor } from "../checkpoint-types.ts";
import { missingTensor } from "../tensor-file.ts";
import { type GgufFile, type GgufTensor, openGguf } from "./gguf.ts";
import { DEQUANTIZERS } from "./gguf-dequantize.ts";
import { deinterleavedRow, interleavedHeads, llamaConfig, llamaTensors } from "./gguf-llama.ts";
import { writeTokenizerFiles } from "./gguf-side-files.ts";
import { generationConfigGguf, loadTokenizerGguf, tokenizerPartsGguf } from "./gguf-tokenizer.ts";
import { GGML_TYPES } from "./gguf-types.ts";

const CHUNK_BYTES = 4 << 20;

/** Opens a `.gguf` file of architecture "llama". Throws a TunesmithError ("checkpoint"). */
export async function openGgufCheckpoint(path: string): Promise<Checkpoint> {
  const file = await openGguf(path);
  try {
    const config = llamaConfig(file, await readRopeFactors(file));
    const stored = llamaTensors(file);
    const generationConfig = generationConfigGguf(file);
    const headDimension = config.head_dim as number;
    const isReordered = ({ name }: GgufTensor) => interleavedHeads(name, config) !== undefined;
    const tensors = new Map<string, CheckpointTensor>();
    for (const [name, tensor] of stored) {
      const { type: dtype, shape, byteOffset, byteLength } = tensor;
      const direct = GGML_TYPES[dtype].blockElements === 1 && !isReordered(tensor);
      const location = { path, byteOffset, byteLength };
      tensors.set(name, { name, shape, dtype, ...(direct && { location }) });
      const heads = interleavedHeads(tensor.name, config);
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
        const tensor = find(name);
        await readRows(file, tensor, target, DEQUANTIZERS[tensor.type], {
          ...(isReordered(tensor) && { headDimension }),
        });
      },
      async readRawInto(name, target) {
        const tensor = find(name);
        if (GGML_TYPES[tensor.type].blockElements > 1)
          throw new TypeError(
            `${name} is ${tensor.type}; only unquantised tensors have raw values`,
          );
        await readRows(file, tensor, target, (bytes, rows) => rows.set(bytes), {
          ...(isReordered(tensor) && { headDimension }),
        });
      },
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
  const tensor = file.tensors.get("rope_freqs.weight");
  if (!tensor) return undefined;
  const factors = new Float32Array(tensor.shape.reduce((product, size) => product * size, 1));
  await readRows(file, tensor, factors, DEQUANTIZERS[tensor.type], {});
  return factors;
}

/**
 * Reads a tensor a few MiB of rows at a time, `decode`s them and puts each where it belongs: with a
 * `headDimension`, the rows of every head are de-interleaved on the way.
 */
async function readRows<Target extends Float32Array | Uint8Array>(
  file: GgufFile,
  tensor: GgufTensor,
  target: Target,
  decode: (bytes: Uint8Array, target: Target) => void,
  { headDimension }: { headDimension?: number },
): Promise<void> {
  const rows = tensor.shape[0]!;
  if (rows === 0) return;
  const rowBytes = tensor.byteLength / rows;
  const rowLength = tensor.shape.reduce((product, size) => product * size, 1) / rows;
  const targetRow = target instanceof Float32Array ? rowLength : rowBytes;
  if (target.length !== targetRow * rows)
    throw new RangeError(`${tensor.name} needs ${targetRow * rows} elements, not ${target.length}`);
  const rowsAtOnce = Math.max(1, Math.floor(CHUNK_BYTES / rowBytes));
  const chunk = new Uint8Array(Math.min(rowsAtOnce, rows) * rowBytes);
  for (let from = 0; from < rows; from += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, rows - from);
    const bytes = chunk.subarray(0, count * rowBytes);
    await file.readInto(tensor.name, bytes, from * rowBytes);
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
