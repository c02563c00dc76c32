// What a GGUF file says, in Hugging Face's words: config.json and the names of its tensors.

import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../json-file.ts";
import { withFloats } from "../number-spelling.ts";
import type { GgufFile, GgufTensor } from "./gguf.ts";
import type { FurtherKey, GgufArchitecture, GgufFacts } from "./gguf-architecture.ts";
import { huggingFaceName } from "./gguf-architectures.ts";
import { FACTOR_TENSORS, type RopeFactors, ropeAsConfig } from "./gguf-rope.ts";
import { shortestFloat32, sizesAsConfig, sizesOfFile } from "./gguf-sizes.ts";

/** What Transformers has as floats. */
const FLOATS = [
  "rms_norm_eps",
  "rope_theta",
  "rope_local_base_freq",
  "attn_logit_softcapping",
  "final_logit_softcapping",
  "partial_rotary_factor",
];

const FACTORS: ReadonlySet<string> = new Set(Object.values(FACTOR_TENSORS));

/** A tensor of a checkpoint inside a file. */
export interface StoredTensor {
  readonly tensor: GgufTensor;
  readonly shape: readonly number[];
  /** Its bytes within the file's tensor, which may hold those of several experts. */
  readonly from: number;
  readonly byteLength: number;
}

/**
 * The file's tensors under their Hugging Face names. Throws for a tensor that the architecture does not
 * have: leaving it out would silently compute another model.
 */
export function storedTensors(
  file: GgufFile,
  architecture: GgufArchitecture,
): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  const flat = new Set(architecture.flat?.map((part) => `.${part}.weight`));
  for (const tensor of file.tensors.values()) {
    if (FACTORS.has(tensor.name)) continue;
    const name = huggingFaceName(tensor.name, architecture);
    if (name === undefined)
      throw new TunesmithError("checkpoint", {
        where: file.path,
        rule: `tensors of architecture "${architecture.name}" are those of a ${architecture.modelType} model`,
        seen: `the tensor "${tensor.name.slice(0, 120)}"`,
        fix: "use a model of this architecture as it was published",
      });
    if (!name.includes("#")) {
      const isFlat = tensor.shape.length === 1 && flat.has(tensor.name.replace(/^blk\.\d+/, ""));
      const shape = isFlat ? [1, ...tensor.shape] : tensor.shape;
      tensors.set(name, { tensor, shape, from: 0, byteLength: tensor.byteLength });
      continue;
    }
    const [experts, ...shape] = tensor.shape;
    const byteLength = tensor.byteLength / experts!;
    for (let expert = 0; expert < experts!; expert++)
      tensors.set(name.replace("#", String(expert)), {
        tensor,
        shape,
        from: expert * byteLength,
        byteLength,
      });
  }
  return tensors;
}

/** The `config.json` that a GGUF stands for. */
export function configOfGguf(
  file: GgufFile,
  architecture: GgufArchitecture,
  factors: RopeFactors = {},
): { readonly config: JsonObject; readonly sizes: ReturnType<typeof sizesOfFile> } {
  const { metadata, tensors } = file;
  const facts = factsOf(file, architecture);
  if (Number(metadata.get("split.count") ?? 0) > 1)
    throw facts.fault(
      "the model is one GGUF file",
      "one part of several",
      "join the parts with llama.cpp: llama-gguf-split --merge FIRST-PART OUT.gguf",
    );
  const sizes = sizesOfFile(facts, architecture);
  const fixed = Object.entries(architecture.fixed).map(([key, [value]]) => [key, value]);
  const tokenId = (name: string) => facts.optional(`tokenizer.ggml.${name}_token_id`) ?? null;
  const config = {
    architectures: [architecture.className],
    model_type: architecture.modelType,
    ...sizesAsConfig(sizes, architecture),
    ...ropeAsConfig(facts, architecture, sizes, factors),
    ...(Object.fromEntries(fixed) as JsonObject),
    ...Object.fromEntries(
      (architecture.further ?? []).map((one) => [one.config[0]!, furtherValue(one, facts)]),
    ),
    ...architecture.own?.config?.(facts, sizes),
    tie_word_embeddings: !tensors.has("output.weight"),
    bos_token_id: tokenId("bos"),
    eos_token_id: tokenId("eos"),
    pad_token_id: tokenId("padding"),
  };
  return { config: withFloats(config, FLOATS), sizes };
}

function factsOf(
  { path, metadata, tensors }: GgufFile,
  { name: own }: GgufArchitecture,
): GgufFacts {
  const fault: GgufFacts["fault"] = (rule, seen, fix = "convert the model again with llama.cpp") =>
    new TunesmithError("checkpoint", { where: path, rule, seen, fix });
  const optional = (name: string): number | undefined => {
    const key = name.startsWith("tokenizer.") ? name : `${own}.${name}`;
    const value = metadata.get(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw fault(`${key} is a number`, JSON.stringify(value, (_, v) => String(v)).slice(0, 80));
  };
  const dimension = (name: string): number => {
    const value = optional(name);
    if (value !== undefined && Number.isInteger(value) && value > 0) return value;
    throw fault(
      `${own}.${name} is a whole number above 0`,
      value === undefined ? "no such key" : `${value}`,
    );
  };
  return { metadata, tensors, optional, dimension, fault };
}

function furtherValue({ key, as, absent }: FurtherKey, facts: GgufFacts): unknown {
  if (as === "bool") {
    const name = `${facts.metadata.get("general.architecture")}.${key}`;
    return facts.metadata.get(name) ?? absent;
  }
  if (absent === undefined) return facts.dimension(key);
  const value = facts.optional(key);
  return value === undefined ? absent : shortestFloat32(value);
}
