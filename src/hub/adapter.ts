// An adapter folder as PEFT saves it: adapter_config.json and adapter_model.safetensors, whose tensor
// names do not hold the adapter's own name.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { TunesmithError } from "../errors.ts";
import { type JsonObject, unreadable } from "./json-file.ts";
import { readPeftConfig, writePeftConfig } from "./peft-config.ts";
import { pickleRefused } from "./pickle.ts";
import { openSafetensors } from "./safetensors.ts";
import { readFloat32 } from "./safetensors-float32.ts";
import { type TensorToWrite, writeSafetensors } from "./safetensors-writer.ts";

export interface AdapterTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export interface Adapter {
  /** adapter_config.json as it stands. */
  readonly config: JsonObject;
  /** By PEFT's file key, such as `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly tensors: ReadonlyMap<string, AdapterTensor>;
}

const WEIGHTS = "adapter_model.safetensors";
const PICKLE = "adapter_model.bin";

/**
 * Reads an adapter. Names that still hold `adapterName` (files not saved by PEFT itself) lose it.
 * Throws a TunesmithError ("checkpoint") for a folder that is no adapter; pickles are never opened.
 */
export async function readAdapter(folder: string, adapterName = "default"): Promise<Adapter> {
  const config = await readPeftConfig(folder);
  const files = await readdir(folder).catch((error) => {
    throw unreadable(folder, error);
  });
  if (!files.includes(WEIGHTS)) {
    if (files.includes(PICKLE)) throw pickleRefused(join(folder, PICKLE), "adapter");
    throw new TunesmithError("checkpoint", {
      where: folder,
      rule: `an adapter folder holds ${WEIGHTS}`,
      seen: files.slice(0, 8).join(", "),
      fix: "name the folder that the adapter was saved to",
    });
  }
  const file = await openSafetensors(join(folder, WEIGHTS));
  try {
    const tensors = new Map<string, AdapterTensor>();
    for (const { name, shape } of file.tensors.values()) {
      const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
      await readFloat32(file, name, data);
      tensors.set(withoutAdapterName(name, adapterName), { shape, data });
    }
    return { config, tensors };
  } finally {
    await file.close();
  }
}

/** Writes an adapter, F32 as PEFT does: weights first, so that a folder with a config is complete. */
export async function writeAdapter(
  folder: string,
  config: JsonObject,
  tensors: ReadonlyMap<string, AdapterTensor>,
): Promise<void> {
  const list: TensorToWrite[] = [];
  for (const [name, { shape, data }] of tensors) list.push({ name, dtype: "F32", shape, data });
  await writeSafetensors(join(folder, WEIGHTS), list);
  await writePeftConfig(folder, config);
}

/** PEFT's rule: a last component that is the adapter's name goes, else a second-to-last one does. */
export function withoutAdapterName(key: string, adapterName: string): string {
  const parts = key.split(".");
  const at = parts.at(-1) === adapterName ? parts.length - 1 : parts.length - 2;
  if (at > 0 && parts[at] === adapterName) parts.splice(at, 1);
  return parts.join(".");
}
