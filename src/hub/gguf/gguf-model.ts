// A whole model as one GGUF file, as llama.cpp's converter would write it.

import { basename } from "node:path";
import { TunesmithError } from "../../errors.ts";
import type { Checkpoint } from "../checkpoint-types.ts";
import type { JsonObject } from "../json-file.ts";
import type { GgufArchitecture, Sizes } from "./gguf-architecture.ts";
import { ggufArchitecture, ggufPlace, partOf } from "./gguf-architectures.ts";
import { writtenConfig } from "./gguf-config-entries.ts";
import { FACTOR_TENSORS } from "./gguf-rope.ts";
import { reordered } from "./gguf-row-order.ts";
import { tokenizerEntries } from "./gguf-tokenizer-entries.ts";
import { GGUF_DTYPES, type GgufDtype, typeOfTensor } from "./gguf-types-of-model.ts";
import { type GgufData, type GgufTensorToWrite, writeGguf } from "./gguf-writer.ts";

/** A tensor by its Hugging Face name, rows being outputs; `data` is called when its turn comes. */
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
  const { entries, factors, sizes } = writtenConfig(config, architecture, source);
  const ends = [generationConfig?.eos_token_id ?? []].flat().map(Number);
  const tokenizer = tokenizerEntries(await checkpoint.readTokenizer(), {
    rows: sizes.vocabulary,
    ends,
  });
  await writeGguf(path, {
    metadata: [
      ["general.architecture", { string: architecture.name }],
      ["general.type", { string: "model" }],
      ["general.name", { string: basename(source).replace(/\.gguf$/i, "") }],
      ["general.file_type", { uint32: GGUF_DTYPES[dtype] }],
      ["general.quantization_version", { uint32: 2 }],
      ...entries,
      ...tokenizer,
    ],
    tensors: [
      ...Object.entries(factors).map(([kind, values]) => ({
        name: FACTOR_TENSORS[kind as keyof typeof factors],
        shape: [values.length],
        type: "F32" as const,
        parts: [values],
      })),
      ...placed({ config, tensors, checkpoint }, architecture, sizes, dtype),
    ],
  });
}

/** The tensors under llama.cpp's names, experts of a layer in one. */
function placed(
  { config, tensors, checkpoint: { source } }: ModelToWrite,
  architecture: GgufArchitecture,
  sizes: Sizes,
  dtype: GgufDtype,
): GgufTensorToWrite[] {
  const { flat = [], normOffset = 0 } = architecture;
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
    const part = partOf(place.name);
    const order = architecture.rows?.(part, sizes, config);
    const offset = part.endsWith("_norm.weight") ? normOffset : 0;
    const data = async () => {
      const values = await tensor.data();
      if (offset !== 0) return values.map((value) => value + offset);
      return order ? reordered(values, order) : values;
    };
    const shape = flat.some((one) => part === `${one}.weight`)
      ? tensor.shape.slice(1)
      : tensor.shape;
    const entry = joined.get(place.name) ?? { shape, parts: [] };
    joined.set(place.name, entry);
    entry.parts[place.expert ?? 0] = data;
  }
  // A tied matrix is written twice where llama.cpp looks for both.
  const embedding = joined.get("token_embd.weight")!;
  if (architecture.needsOutput && !joined.has("output.weight"))
    joined.set("output.weight", embedding);
  const output = joined.has("output.weight") ? "output.weight" : "token_embd.weight";
  return [...joined].map(([name, { shape: one, parts }]) => {
    const shape = name.includes("_exps.") ? [parts.length, ...one] : one;
    const type = typeOfTensor({ name, shape }, dtype, { layers: sizes.layers, output });
    return { name, shape, parts, type };
  });
}
