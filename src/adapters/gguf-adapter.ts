// A LoRA as llama.cpp reads it: a GGUF of type "adapter", in the layout of its `convert_lora_to_gguf`.

import { type Fault, TunesmithError } from "../errors.ts";
import {
  type GgufToWrite,
  ggufArchitecture,
  ggufPlace,
  type JsonObject,
  partOf,
  type RowOrder,
  reordered,
  sizesOfConfig,
} from "../hub/index.ts";
import type { LoraModule, PlainLora } from "./plain-lora.ts";

/**
 * @param config the base model's config.json: its heads decide the order of rows
 * @throws TunesmithError (checkpoint) for a base, or modules, that llama.cpp knows no names for
 */
export function ggufAdapter(lora: PlainLora, config: JsonObject): GgufToWrite {
  const architecture = ggufArchitecture(config, "converting to gguf");
  const sizes = sizesOfConfig(config, architecture);
  const faults: Fault[] = [];
  if (config.tie_word_embeddings === true && lora.modules.has("lm_head"))
    faults.push({
      where: `${lora.source}: lm_head`,
      rule: "llama.cpp adapts an output matrix that the model file has",
      seen: "a model whose output matrix is its embedding",
      fix: "merge the adapter into its model, or train one without lm_head",
    });
  const tensors: GgufToWrite["tensors"][number][] = [];
  // The file has one alpha; llama.cpp scales every pair of matrices by alpha / rank.
  const alpha = alphaOf(lora);
  for (const [path, module] of lora.modules) {
    const place = ggufPlace(`${path}.weight`, architecture);
    // One tensor of llama.cpp's holds a matrix of every expert; an adapter of some has no place in it.
    const name = place?.expert === undefined ? place?.name : undefined;
    const order = name === undefined ? undefined : architecture.rows?.(partOf(name), sizes, config);
    if (name === undefined || (order && module.outputSize !== order.rows)) {
      faults.push({
        where: `${lora.source}: ${path}`,
        rule: "every module of the adapter is one of the base model",
        seen:
          name === undefined
            ? "a name that llama.cpp does not have"
            : `${module.outputSize} rows, where the model has ${order?.rows}`,
        fix: `name the adapter's own base model with --model (${lora.base ?? "not named"})`,
      });
      continue;
    }
    const { a, rank, inputSize, outputSize } = module;
    tensors.push(
      { name: `${name}.lora_a`, shape: [rank, inputSize], type: "F32", parts: [a] },
      {
        name: `${name}.lora_b`,
        shape: [outputSize, rank],
        type: "F32",
        parts: [rowsOfB(module, alpha, order)],
      },
    );
  }
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults.slice(0, 10));
  return {
    metadata: [
      ["general.architecture", { string: architecture.name }],
      ["general.type", { string: "adapter" }],
      ["general.name", { string: lora.base ?? "adapter" }],
      ["general.file_type", { uint32: ALL_FLOAT32 }],
      ["general.quantization_version", { uint32: 2 }],
      ["adapter.type", { string: "lora" }],
      ["adapter.lora.alpha", { float32: alpha }],
    ],
    tensors,
  };
}

const ALL_FLOAT32 = 0;

/** The alpha that most modules have, so that their matrices are written as they are. */
function alphaOf({ modules }: PlainLora): number {
  const [first] = modules.values();
  return first!.scaling * first!.rank;
}

/** B with what alpha / rank does not say of the scaling, its rows in llama.cpp's order. */
function rowsOfB(
  { b, rank, scaling }: LoraModule,
  alpha: number,
  order: RowOrder | undefined,
): Float32Array {
  const factor = scaling / (alpha / rank);
  const scaled = Math.abs(factor - 1) < 1e-12 ? b : b.map((x) => x * factor);
  return order ? reordered(scaled, order) : scaled;
}
