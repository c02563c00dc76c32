// Writing what was trained: an adapter as its library has it, or a whole model, as a folder or a GGUF file.

import { join } from "node:path";
import { TunesmithError } from "../errors.ts";
import {
  type AdapterTensor,
  type Checkpoint,
  type GgufDtype,
  type HalfKind,
  type JsonObject,
  makeFolder,
  toJson,
  writeAdapter,
  writeFileAtomically,
  writeGgufModel,
  writeShardedSafetensors,
  writeTokenizer,
} from "../hub/index.ts";
import type { BoundMethod, ParameterValues, SavedAdapter } from "../methods/index.ts";
import { classifierKeys } from "../models/index.ts";
import { ownEmbedding } from "./adapters/own-tokens.ts";
import { computeTensors, type MethodParts } from "./computed-tensors.ts";
import { transposeInto } from "./weights/checkpoint-view.ts";
import { createRequantizationMeter, type RequantizationLoss } from "./weights/requantization.ts";
import type { WeightStore } from "./weights/weights.ts";

export interface Trained extends MethodParts {
  readonly checkpoint: Checkpoint;
  /** First values, by key, of the parameters that started as a part of the base. */
  readonly initial: ReadonlyMap<string, Float32Array>;
}

/** Writes the adapter or, for methods that train whole weights, the checkpoint. */
export async function saveTrained(trained: Trained, directory: string): Promise<void> {
  await makeFolder(directory);
  const saved = trained.method?.saved ?? "checkpoint";
  if (saved === "checkpoint") {
    await saveMerged(trained, directory);
    return;
  }
  const values: ParameterValues = (spec) => trained.parameters.parameter(spec).data;
  const { classifier } = trained.architecture;
  const { newTokens } = trained.checkpoint;
  if (newTokens) await writeTokenizer(directory, await trained.checkpoint.readTokenizer());
  const embedding = newTokens?.isGrown ? ownEmbedding(trained) : [];
  await writeAdapter(directory, {
    config: typeof saved.config === "function" ? saved.config(values) : saved.config,
    tensors: new Map([...embedding, ...(await adapterTensors(trained, saved, values))]),
    ...(saved.encoder && { encoder: saved.encoder(values) }),
    ...(classifier && { labels: classifierKeys(classifier) }),
  });
}

async function adapterTensors(
  trained: Trained,
  saved: SavedAdapter,
  values: ParameterValues,
): Promise<ReadonlyMap<string, AdapterTensor>> {
  if (saved.computed) return computeTensors(trained, saved.computed);
  if (saved.tensors) return saved.tensors(values, ({ key }) => trained.initial.get(key)!);
  const parameters = trained.parameters.saved;
  return new Map(parameters.map(({ name, shape, data }) => [name, { shape, data }]));
}

/** How the weights of a model folder are written. */
export interface FolderOptions {
  /** Of all weights. Default: each as the base has it. */
  readonly dtype?: FloatingType | undefined;
  /** The largest file, in bytes, unless a tensor is larger. Default 5e9, as in Transformers. */
  readonly maxShardBytes?: number | undefined;
  /** Aborting ends the writing with the signal's reason; files that are whole by then stay. */
  readonly signal?: AbortSignal | undefined;
}

/** The floating types of safetensors files, by PyTorch's names. */
export const FLOATING_TYPES = { float32: "F32", float16: "F16", bfloat16: "BF16" } as const;
export type FloatingType = keyof typeof FLOATING_TYPES;

/** @throws TunesmithError (config) for a type or a size that there is not */
export function checkFolderOptions({ dtype, maxShardBytes = 5e9 }: FolderOptions): void {
  const names = Object.keys(FLOATING_TYPES);
  if (dtype !== undefined && !names.includes(dtype))
    throw new TunesmithError("config", {
      where: "merging: dtype",
      rule: `is one of ${names.join(", ")}`,
      seen: JSON.stringify(dtype),
      fix: "leave it out to keep the base's, or `tunesmith export` for GGUF's types",
    });
  if (!(maxShardBytes > 0))
    throw new TunesmithError("config", {
      where: "merging: the largest file",
      rule: "is a number of bytes above 0",
      seen: String(maxShardBytes),
      fix: "leave it out for files of at most 5 GB",
    });
}

/**
 * Writes the base with everything that was trained made part of it, each tensor in the dtype asked for or
 * that the base has it in (float32 where a GGUF file quantised it, the type before where bitsandbytes
 * did), and the side files of the base.
 * @returns what quantising it again would lose, where the base was quantised
 */
export async function saveMerged(
  trained: Trained,
  directory: string,
  { dtype, maxShardBytes, signal }: FolderOptions = {},
): Promise<RequantizationLoss | undefined> {
  checkFolderOptions({ dtype, maxShardBytes });
  const { checkpoint } = trained;
  const meter = createRequantizationMeter(trained.weights);
  const { config, tensors } = mergedModel(trained, signal, meter);
  await makeFolder(directory);
  const written = tensors.map((tensor) => ({
    ...asInFolders(tensor),
    dtype: dtype ? FLOATING_TYPES[dtype] : tensor.stored,
  }));
  await writeShardedSafetensors(directory, written, { maxShardBytes });
  const named = dtype ? { ...withoutType(config), dtype } : config;
  await writeFileAtomically(join(directory, "config.json"), toJson(named));
  await checkpoint.writeSideFiles(directory);
  return meter.result();
}

/** Transformers 5 says `dtype`, those before it `torch_dtype`; whichever there is goes. */
const withoutType = ({ torch_dtype: _, dtype: __, ...rest }: JsonObject): JsonObject => rest;

/**
 * Writes the same as one GGUF file.
 * @returns what quantising it again would lose, where the base was quantised
 * @throws TunesmithError (checkpoint) for what GGUF has no words for
 */
export async function saveMergedGguf(
  trained: Trained,
  path: string,
  dtype: GgufDtype,
  signal?: AbortSignal,
): Promise<void> {
  const { checkpoint } = trained;
  await writeGgufModel(path, { ...mergedModel(trained, signal), checkpoint }, dtype);
}

interface MergedTensor {
  readonly name: string;
  /** Rows being outputs. */
  readonly shape: readonly number[];
  /** What the base has it in. */
  readonly stored: HalfKind | "F32";
  /** Whether model folders hold it the other way round. */
  readonly isTransposed?: boolean | undefined;
  /** Computed when it is asked for. */
  readonly data: () => Float32Array;
}

function asInFolders({ name, shape, isTransposed, data }: MergedTensor) {
  if (!isTransposed) return { name, shape, data };
  const turned = () => {
    const result = new Float32Array(shape[0]! * shape[1]!);
    transposeInto(data(), shape[0]!, shape[1]!, result);
    return result;
  };
  return { name, shape: shape.toReversed(), data: turned };
}

/** @param meter is told every weight that comes out of a merge */
function mergedModel(
  trained: Trained,
  signal: AbortSignal | undefined,
  meter?: { add(name: string, data: Float32Array): void },
): { config: JsonObject; tensors: MergedTensor[] } {
  const { checkpoint, architecture, method } = trained;
  const { weights: specs, outputPath, outputName } = architecture;
  if (method) checkMergeable(method, trained.weights);
  const outputUse = `${outputPath}.weight`;
  // A tied head that was trained apart from the embedding (or the other way round) is tied no more.
  const untied = outputUse !== outputName && isUntied(trained);
  const storedType = (name: string) => {
    const { dtype } = checkpoint.tensors.get(name)!;
    return dtype === "F16" || dtype === "BF16" ? dtype : "F32";
  };
  const tensors: MergedTensor[] = specs.map(({ name, shape, isTransposed }) => ({
    name,
    shape,
    stored: storedType(name),
    isTransposed,
    data: () => {
      signal?.throwIfAborted();
      const data = mergedWeight(trained, name);
      meter?.add(name, data);
      return data;
    },
  }));
  if (untied) {
    const { shape } = specs.find(({ name }) => name === outputName)!;
    const data = () => mergedWeight(trained, outputUse);
    tensors.push({ name: outputUse, shape, stored: storedType(outputName), data });
  }
  const { quantization_config: _, ...unquantized } = checkpoint.config;
  return {
    config: { ...unquantized, ...(untied ? { tie_word_embeddings: false } : {}) },
    tensors,
  };
}

/**
 * @throws TunesmithError (config) for a method whose effect is no change of weights, and where products
 *   in whole numbers have left no weights to merge into
 */
export function checkMergeable(
  { name, unmergeable }: BoundMethod,
  { arithmetic, isForRunning }: Pick<WeightStore, "arithmetic" | "isForRunning">,
): void {
  if (isForRunning)
    throw new TunesmithError("config", {
      where: `merging ${name}`,
      rule: "an adapter becomes part of the weights that the model was published with",
      seen: "dtype q4 or q8, which keeps them rounded",
      fix: "load the model without dtype",
    });
  if (arithmetic === "int8")
    throw new TunesmithError("config", {
      where: `merging ${name}`,
      rule: "an adapter becomes part of the weights that the model was published with",
      seen: "arithmetic: int8, which keeps them rounded",
      fix: "save the adapter, then `tunesmith merge`; or load the model without arithmetic",
    });
  if (unmergeable)
    throw new TunesmithError("config", {
      where: `merging ${name}`,
      rule: "what a method adds can be made part of the weights",
      seen: unmergeable,
      fix: "keep the adapter beside the model: every command takes --adapter",
    });
}

/** Whether the output module of a checkpoint that ties it reads other numbers than the embedding. */
export function isUntied(trained: MethodParts): boolean {
  const { method, architecture } = trained;
  const { outputPath, outputName } = architecture;
  const outputUse = `${outputPath}.weight`;
  if (method?.replaces.get(outputUse) !== method?.replaces.get(outputName)) return true;
  const paths = [outputPath, outputName.replace(/\.weight$/, "")];
  if (!paths.some((path) => method?.adapted?.includes(path))) return false;
  const embedding = mergedWeight(trained, outputName);
  return mergedWeight(trained, outputUse).some((value, i) => value !== embedding[i]);
}

/** What becomes of a weight as a module uses it: a tied output module has its own. */
export function mergedWeight(trained: MethodParts, use: string): Float32Array {
  const { method, weights, parameters, architecture } = trained;
  const { outputPath, outputName } = architecture;
  const own = method?.replaces.get(use);
  const name = use === `${outputPath}.weight` ? outputName : use;
  const data = own ? parameters.parameter(own).data.slice() : weights.copy(name);
  method?.mergeInto?.(use, data, (spec) => parameters.parameter(spec).data);
  return data;
}
