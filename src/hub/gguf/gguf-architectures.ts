// The architectures that both a GGUF file and a model folder have names for, and where each tensor is.

import { TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../json-file.ts";
import type { GgufFile } from "./gguf.ts";
import type { GgufArchitecture } from "./gguf-architecture.ts";
import { GEMMAS } from "./gguf-gemma.ts";
import { GPTS } from "./gguf-gpts.ts";
import { LLAMAS } from "./gguf-llamas.ts";

/** Where one name of ggml's serves several models, the first that fits is the one that a file is read as. */
export const GGUF_ARCHITECTURES: readonly GgufArchitecture[] = [...LLAMAS, ...GEMMAS, ...GPTS];

/** The `model_type`s that GGUF files are read as and written of. */
export const GGUF_MODEL_TYPES: readonly string[] = [
  ...new Set(GGUF_ARCHITECTURES.map(({ modelType }) => modelType)),
];

/** @throws TunesmithError (checkpoint) for a model that has no names here */
export function ggufArchitecture(config: JsonObject, where: string): GgufArchitecture {
  const { model_type: type } = config;
  const rows = GGUF_ARCHITECTURES.filter(({ modelType }) => modelType === type);
  const found = rows.find(({ isFor }) => isFor?.(config) ?? true) ?? rows[0];
  if (found) return found;
  throw new TunesmithError("checkpoint", {
    where: `${where}: model_type`,
    rule: `models that become GGUF are ${GGUF_MODEL_TYPES.join(", ")}`,
    seen: JSON.stringify(type) ?? "no such key",
    fix: "merge into a model folder (tunesmith merge); llama.cpp's convert_hf_to_gguf.py knows others",
  });
}

/** The architecture that a file names. Throws a TunesmithError ("checkpoint") for one not known. */
export function architectureOfGguf(file: GgufFile): GgufArchitecture {
  const name = file.metadata.get("general.architecture");
  const named = GGUF_ARCHITECTURES.filter((one) => one.name === name);
  const found = named.find(({ isOf }) => isOf?.(file) ?? true);
  if (found) return found;
  const known = [...new Set(GGUF_ARCHITECTURES.map((one) => `"${one.name}"`))].join(", ");
  throw new TunesmithError("checkpoint", {
    where: file.path,
    rule: `GGUF architectures that can be read are ${known}`,
    seen:
      named.length > 0
        ? `"${name}" with tensors of another kind, or a mixture of experts`
        : `general.architecture ${JSON.stringify(String(name).slice(0, 80))}`,
    fix: "use a GGUF of one of these, or the model's Hugging Face folder",
  });
}

type Kinds = Pick<GgufArchitecture, "biases">;

const isKnown = (part: string, kind: string, { biases }: Kinds): boolean =>
  kind === "weight" || biases.includes(part);

/**
 * `blk.0.attn_q.weight` → `model.layers.0.self_attn.q_proj.weight`; with `#` for the number of an
 * expert where a tensor holds all of them; undefined for what the architecture does not have.
 */
export function huggingFaceName(name: string, architecture: GgufArchitecture): string | undefined {
  const match = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name);
  if (!match) return undefined;
  const [, layer, part, kind] = match;
  const { modelNames, blockNames, blocks } = architecture;
  const table = layer === undefined ? modelNames : blockNames;
  if (!Object.hasOwn(table, part!) || !isKnown(part!, kind!, architecture)) return undefined;
  const prefix = layer === undefined ? "" : `${blocks}${Number(layer)}.`;
  return `${prefix}${table[part!]}.${kind}`;
}

/** Where a tensor of a checkpoint lies in a GGUF file. */
export interface GgufPlace {
  readonly name: string;
  /** Which slice of it, where one tensor holds those of all experts. */
  readonly expert?: number;
}

/** The way back: `model.layers.0.self_attn.q_proj.weight` → `blk.0.attn_q.weight`. */
export function ggufPlace(name: string, architecture: GgufArchitecture): GgufPlace | undefined {
  const { modelNames, blockNames, blocks } = architecture;
  const isInBlock = name.startsWith(blocks);
  const match = /^(?:(\d+)\.)?(.+)\.(weight|bias)$/.exec(name.slice(isInBlock ? blocks.length : 0));
  if (!match || isInBlock !== (match[1] !== undefined)) return undefined;
  const [, layer, path, kind] = match;
  const expert = /\.experts\.(\d+)\./.exec(path!)?.[1];
  const general = path!.replace(/\.experts\.\d+\./, ".experts.#.");
  const table = Object.entries(isInBlock ? blockNames : modelNames);
  const part = table.find(([, known]) => known === general)?.[0];
  if (part === undefined || !isKnown(part, kind!, architecture)) return undefined;
  return {
    name: layer === undefined ? `${part}.${kind}` : `blk.${layer}.${part}.${kind}`,
    ...(expert !== undefined && { expert: Number(expert) }),
  };
}

/** A tensor's name in a file without its block: `attn_q.weight`. */
export const partOf = (ggufName: string): string => ggufName.replace(/^blk\.\d+\./, "");
