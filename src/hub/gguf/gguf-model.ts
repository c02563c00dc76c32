// A whole model as one GGUF file, as llama.cpp's converter would write it.

import { basename } from "node:path";
import { TunesmithError } from "../../errors.ts";
import type { Checkpoint } from "../checkpoint-types.ts";
import type { JsonObject } from "../json-file.ts";
import {
  deinterleavedRow,
  type GgufArchitecture,
  ggufArchitecture,
  ggufPlace,
  interleavedHeads,
} from "./gguf-architectures.ts";
import { ROPE_FACTORS } from "./gguf-config.ts";
import { configEntries, ropeFactors } from "./gguf-config-entries.ts";
import { tokenizerEntries } from "./gguf-tokenizer-entries.ts";
import { GGUF_DTYPES, type GgufDtype, typeOfTensor } from "./gguf-types-of-model.ts";
import { type GgufData, type GgufTensorToWrite, writeGguf } from "./gguf-writer.ts";

/** A tensor by its Hugging Face name; `data` is called when its turn comes. */
export interface ModelTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: () => Float32Array | Promise<Float32Array>;
}

export interface ModelToWrite {
  readonly config: JsonObject;
  readonly tensors: readonly ModelTensor[];
  /** Where tokenizer, template and generation settings come from. */
  readonly checkpoint: Pick<Checkpoint, "source" | "generationConfig" | "readTokenizer">;
}

/**
 * Writes the file, wholly or not at all; one tensor (or the experts of one layer, one by one) is in memory.
 * @throws TunesmithError (checkpoint) for an architecture, a tokenizer or a setting that GGUF has no words
 *   for, (run) where the disk refuses
 */
export async function writeGgufModel(
  path: string,
  { config, tensors, checkpoint }: ModelToWrite,
  dtype: GgufDtype,
): Promise<void> {
  const { source, generationConfig } = checkpoint;
  const architecture = ggufArchitecture(config, source);
  const ends = [generationConfig?.eos_token_id ?? []].flat().map(Number);
  const tokenizer = tokenizerEntries(await checkpoint.readTokenizer(), {
    rows: Number(config.vocab_size),
    ends,
  });
  const factors = ropeFactors(config, architecture);
  await writeGguf(path, {
    metadata: [
      ["general.architecture", { string: architecture.name }],
      ["general.type", { string: "model" }],
      ["general.name", { string: basename(source).replace(/\.gguf$/i, "") }],
      ["general.file_type", { uint32: GGUF_DTYPES[dtype] }],
      ["general.quantization_version", { uint32: 2 }],
      ...configEntries(config, architecture, source),
      ...tokenizer,
    ],
    tensors: [
      ...(factors
        ? [{ name: ROPE_FACTORS, shape: [factors.length], type: "F32" as const, parts: [factors] }]
        : []),
      ...placed(tensors, architecture, config, dtype, source),
    ],
  });
}

/** The tensors under llama.cpp's names, experts of a layer in one. */
function placed(
  tensors: readonly ModelTensor[],
  architecture: GgufArchitecture,
  config: JsonObject,
  dtype: GgufDtype,
  source: string,
): GgufTensorToWrite[] {
  const joined = new Map<string, { shape: readonly number[]; parts: GgufData[] }>();
  for (const tensor of tensors) {
    const place = ggufPlace(tensor.name, architecture);
    if (!place)
      throw new TunesmithError("checkpoint", {
        where: `${source}: ${tensor.name}`,
        rule: `llama.cpp has a name for every tensor of a ${architecture.modelType} model`,
        seen: "a tensor that it does not read",
        fix: "keep this model as a model folder: tunesmith merge",
      });
    const heads = interleavedHeads(place.name, architecture, config);
    const data = heads
      ? async () => interleaved(await tensor.data(), tensor.shape, heads)
      : tensor.data;
    const entry = joined.get(place.name) ?? { shape: tensor.shape, parts: [] };
    joined.set(place.name, entry);
    entry.parts[place.expert ?? 0] = data;
  }
  const layers = Number(config.num_hidden_layers);
  const output = joined.has("output.weight") ? "output.weight" : "token_embd.weight";
  return [...joined].map(([name, { shape: one, parts }]) => {
    const shape = name.includes("_exps.") ? [parts.length, ...one] : one;
    return { name, shape, parts, type: typeOfTensor({ name, shape }, dtype, { layers, output }) };
  });
}

/** Rows in llama.cpp's order: the two halves of a head, in turn. */
function interleaved(data: Float32Array, shape: readonly number[], heads: number): Float32Array {
  const rows = shape[0]!;
  const width = data.length / rows;
  const result = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    const from = deinterleavedRow(row, rows / heads) * width;
    result.set(data.subarray(from, from + width), row * width);
  }
  return result;
}
