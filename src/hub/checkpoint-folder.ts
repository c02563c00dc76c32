// A Hugging Face model folder: config.json beside one safetensors file, or several with an index.

import { copyFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { TunesmithError } from "../errors.ts";
import type { Checkpoint, CheckpointTensor } from "./checkpoint-types.ts";
import { isJsonObject, type JsonObject, readJsonObject } from "./json-file.ts";
import { isPickle, pickleRefused } from "./pickle.ts";
import { findQuantized, readQuantized } from "./quantization/bitsandbytes.ts";
import {
  findPacked,
  readInt4,
  readPacked,
  readPackedRaw,
  type StoredPacked,
} from "./quantization/packed-integers.ts";
import { packedLayout } from "./quantization/packed-layout.ts";
import { dequantize } from "./quantization/quantization.ts";
import { openSafetensors, type SafetensorsFile } from "./safetensors/safetensors.ts";
import { readFloat32 } from "./safetensors/safetensors-float32.ts";
import { missingTensor } from "./tensor-file.ts";
import { loadIcetkFolder, usesIcetk } from "./tokenizers/icetk.ts";
import { loadTokenizerFolder, readTokenizerFolder } from "./tokenizers/tokenizer.ts";

const SINGLE_FILE = "model.safetensors";
const INDEX_FILE = "model.safetensors.index.json";
const SIDE_FILES =
  /^(tokenizer.*|ice_text|special_tokens_map|added_tokens|vocab|merges|generation_config|chat_template|preprocessor_config|processor_config)\.(json|txt|model|jinja)$/;

/** Opens a model folder. `files` are the names in it. Throws a TunesmithError ("checkpoint"). */
export async function openFolderCheckpoint(
  folder: string,
  files: readonly string[],
): Promise<Checkpoint> {
  const config = await readJsonObject(join(folder, "config.json"));
  if (!config) throw noConfig(folder, files);
  checkQuantizationMethod(folder, config);
  const layout = packedLayout(config, folder);
  const generationConfig = await readJsonObject(join(folder, "generation_config.json"));
  const owner = await openWeights(folder, files);
  const close = async () => {
    await Promise.all([...new Set(owner.values())].map((shard) => shard.close()));
  };
  const findSmall = async () => ({
    quantized: await findQuantized(owner),
    packed: layout ? await findPacked(owner, layout) : new Map<string, StoredPacked>(),
  });
  const { quantized, packed } = await findSmall().catch(async (error: unknown) => {
    await close();
    throw error;
  });
  const companions = new Set(
    [...quantized.values(), ...packed.values()].flatMap((weight) => weight.companions),
  );
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, shard] of owner) {
    if (companions.has(name)) continue;
    const stored = quantized.get(name);
    if (stored) {
      const { shape, original: dtype, type: quantization, bytes: quantizedBytes } = stored;
      tensors.set(name, { name, shape, dtype, quantization, quantizedBytes });
      continue;
    }
    const { shape, dtype, byteOffset, byteLength } = shard.tensors.get(name)!;
    const location = { path: shard.path, byteOffset, byteLength };
    tensors.set(name, { name, shape, dtype, location });
  }
  for (const [name, { shape, dtype, keeping, bytes }] of packed)
    tensors.set(name, {
      name,
      shape,
      dtype,
      ...(typeof keeping === "string"
        ? { widenedFor: keeping }
        : { quantization: "int4", quantizedBytes: bytes }),
    });
  const find = (name: string) => {
    const shard = owner.get(name);
    if (!shard) throw missingTensor(folder, name, owner.keys());
    return shard;
  };
  const readSmall = (name: string) => {
    const small = packed.get(name);
    return small
      ? readInt4(owner, name, small, layout!)
      : readQuantized(owner, name, quantized.get(name)!);
  };
  return {
    source: folder,
    format: "safetensors",
    config,
    ...(generationConfig && { generationConfig }),
    tensors,
    async readFloat32Into(name, target) {
      const small = packed.get(name);
      if (small) await readPacked(owner, name, small, layout!, target);
      else if (quantized.has(name)) dequantize(await readSmall(name), target);
      else await readFloat32(find(name), name, target);
    },
    async readRawInto(name, target) {
      const small = packed.get(name);
      if (small) await readPackedRaw(owner, name, small, layout!, target);
      else await find(name).readInto(name, target);
    },
    readQuantized: readSmall,
    loadTokenizer: () => (usesIcetk(files) ? loadIcetkFolder(folder) : loadTokenizerFolder(folder)),
    readTokenizer: () => readTokenizerFolder(folder),
    async writeSideFiles(directory) {
      for (const file of files)
        if (SIDE_FILES.test(file)) await copyFile(join(folder, file), join(directory, file));
    },
    close,
  };
}

/** @throws TunesmithError (checkpoint) for weights that were quantised in a way that is not read */
function checkQuantizationMethod(folder: string, config: JsonObject): void {
  const settings = config.quantization_config;
  if (!isJsonObject(settings)) return;
  const { quant_method: method = "bitsandbytes" } = settings;
  if (method === "bitsandbytes" || method === "gptq" || method === "awq") return;
  throw new TunesmithError("checkpoint", {
    where: `${folder}/config.json: quantization_config.quant_method`,
    rule: "quantised weights are those of bitsandbytes, GPTQ, AWQ or a GGUF file",
    seen: JSON.stringify(method),
    fix: "use the unquantised model; model.quantization makes it small in memory",
  });
}

/** For every tensor the open file that holds it. */
type Weights = ReadonlyMap<string, SafetensorsFile>;

async function openWeights(folder: string, files: readonly string[]): Promise<Weights> {
  if (files.includes(SINGLE_FILE)) {
    const file = await openSafetensors(join(folder, SINGLE_FILE));
    return new Map([...file.tensors.keys()].map((name) => [name, file]));
  }
  if (files.includes(INDEX_FILE)) return openShards(folder, files);
  const pickle = files.find(isPickle);
  if (pickle) throw pickleRefused(join(folder, pickle));
  throw new TunesmithError("checkpoint", {
    where: folder,
    rule: `the folder must hold ${SINGLE_FILE}, or shards with ${INDEX_FILE}`,
    seen: files.length > 0 ? files.slice(0, 8).join(", ") : "an empty folder",
    fix: "fetch the weights too, or name another folder",
  });
}

async function openShards(folder: string, files: readonly string[]): Promise<Weights> {
  const indexPath = join(folder, INDEX_FILE);
  const fault = (rule: string, seen: string, fix: string) =>
    new TunesmithError("checkpoint", { where: indexPath, rule, seen, fix });
  const weightMap = (await readJsonObject(indexPath))?.weight_map;
  if (!isJsonObject(weightMap))
    throw fault("weight_map maps tensor names to files", "no such map", "fetch the index again");
  const placement = Object.entries(weightMap);
  const shardNames = new Set<string>();
  for (const [tensor, file] of placement) {
    if (typeof file !== "string" || basename(file) !== file || !file.endsWith(".safetensors"))
      throw fault(
        "a shard is the name of a safetensors file in the same folder",
        `${JSON.stringify(file)?.slice(0, 120)} for "${tensor.slice(0, 120)}"`,
        "fetch the index again",
      );
    shardNames.add(file);
  }
  const missing = [...shardNames].filter((name) => !files.includes(name));
  if (missing.length > 0)
    throw fault(
      `all ${shardNames.size} shards must be in the folder`,
      `no ${missing.slice(0, 5).join(", ")}${missing.length > 5 ? `, … (${missing.length})` : ""}`,
      "finish the download of the model",
    );
  const shards = new Map<string, SafetensorsFile>();
  try {
    for (const name of shardNames) shards.set(name, await openSafetensors(join(folder, name)));
    const owner = new Map<string, SafetensorsFile>();
    for (const [tensor, file] of placement) {
      const shard = shards.get(file as string)!;
      if (!shard.tensors.has(tensor))
        throw fault(
          "a shard holds the tensors that the index says it holds",
          `no "${tensor}" in ${file}`,
          "fetch the index and the shards again, from one revision",
        );
      owner.set(tensor, shard);
    }
    return owner;
  } catch (error) {
    await Promise.all([...shards.values()].map((shard) => shard.close()));
    throw error;
  }
}

function noConfig(folder: string, files: readonly string[]): TunesmithError {
  const isAdapter = files.includes("adapter_config.json");
  return new TunesmithError("checkpoint", {
    where: folder,
    rule: "a model folder holds config.json",
    seen: isAdapter ? "adapter_config.json: this is an adapter" : briefListing(files),
    fix: isAdapter
      ? "give the base model as the model, and this folder as the adapter"
      : "name the folder that config.json is in",
  });
}

function briefListing(files: readonly string[]): string {
  if (files.length === 0) return "an empty folder";
  return files.slice(0, 8).join(", ") + (files.length > 8 ? ", …" : "");
}
