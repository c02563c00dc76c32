// An adapter folder as PEFT saves it: adapter_config.json and adapter_model.safetensors, whose tensor
// names do not hold the adapter's own name. Of methods that compute their adapter by an encoder, PEFT
// keeps the adapter alone; here the encoder lies beside it, in a file that PEFT does not look at.

import { readdir, rm } from "node:fs/promises";
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
  /** What the tensors are computed from, by the keys of PEFT's own module; rarely there. */
  readonly encoder?: ReadonlyMap<string, AdapterTensor>;
}

/** The encoder of prefix tuning or P-tuning: not PEFT's, so that training can go on. */
export const ENCODER = "prompt_encoder.safetensors";
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
  const stored = await readTensors(join(folder, WEIGHTS));
  const tensors = new Map(
    [...stored].map(([name, tensor]) => [withoutAdapterName(name, adapterName), tensor]),
  );
  if (!files.includes(ENCODER)) return { config, tensors };
  return { config, tensors, encoder: await readTensors(join(folder, ENCODER)) };
}

async function readTensors(path: string): Promise<Map<string, AdapterTensor>> {
  const file = await openSafetensors(path);
  try {
    const tensors = new Map<string, AdapterTensor>();
    for (const { name, shape } of file.tensors.values()) {
      const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
      await readFloat32(file, name, data);
      tensors.set(name, { shape, data });
    }
    return tensors;
  } finally {
    await file.close();
  }
}

/** Writes an adapter, F32 as PEFT does: weights first, so that a folder with a config is complete. */
export async function writeAdapter(
  folder: string,
  { config, tensors, encoder }: Adapter,
): Promise<void> {
  // One that was there made other tensors than those that are about to be.
  await rm(join(folder, ENCODER), { force: true });
  await writeSafetensors(join(folder, WEIGHTS), toWrite(tensors));
  if (encoder) await writeSafetensors(join(folder, ENCODER), toWrite(encoder));
  await writePeftConfig(folder, config);
}

const toWrite = (tensors: ReadonlyMap<string, AdapterTensor>): TensorToWrite[] =>
  [...tensors].map(([name, { shape, data }]) => ({ name, dtype: "F32", shape, data }));

/** PEFT's rule: a last component that is the adapter's name goes, else a second-to-last one does. */
export function withoutAdapterName(key: string, adapterName: string): string {
  const parts = key.split(".");
  const at = parts.at(-1) === adapterName ? parts.length - 1 : parts.length - 2;
  if (at > 0 && parts[at] === adapterName) parts.splice(at, 1);
  return parts.join(".");
}
