// An adapter folder as PEFT saves it: adapter_config.json and adapter_model.safetensors, whose tensor
// names do not hold the adapter's own name; or as AdapterHub's library does, whose adapter_config.json
// is another and whose tensor names hold it. Of methods that compute their adapter by an encoder, PEFT
// keeps the adapter alone; here the encoder lies beside it, in a file that PEFT does not look at.

import { existsSync, statSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { TunesmithError } from "../../errors.ts";
import { writeFileAtomically } from "../atomic-file.ts";
import { isJsonObject, type JsonObject, readJsonObject, unreadable } from "../json-file.ts";
import { toJson } from "../number-spelling.ts";
import { pickleRefused } from "../pickle.ts";
import { isAdapterSetup, readAdapterSetup, writeAdapterSetup } from "./adapter-setup.ts";
import { type AdapterTensors, readAdapterTensors, writeAdapterTensors } from "./adapter-tensors.ts";
import { hasExperts, withExperts, writeExperts } from "./expert-folders.ts";
import { ADAPTER_CONFIG, notAnAdapter } from "./not-an-adapter.ts";
import { pythonJson, readPeftConfig, writePeftConfig } from "./peft-config.ts";

export interface Adapter {
  /** adapter_config.json as it stands. */
  readonly config: JsonObject;
  /** By the file's key, such as `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`. */
  readonly tensors: AdapterTensors;
  /** What the tensors are computed from, by the keys of PEFT's own module; rarely there. */
  readonly encoder?: AdapterTensors;
  /** Of a classifier's adapter: the names of its labels, under Transformers' keys. */
  readonly labels?: JsonObject;
}

/** The encoder of prefix tuning or P-tuning: not PEFT's, so that training can go on. */
export const ENCODER = "prompt_encoder.safetensors";

/** The names of a classifier's labels, which PEFT leaves to the base model's configuration. */
const LABELS = "labels.json";

/** The weights of each library's folders, and the pickles that it writes unless told otherwise. */
const FILES = {
  peft: { weights: "adapter_model.safetensors", pickle: "adapter_model.bin" },
  adapterHub: { weights: "adapter.safetensors", pickle: "pytorch_adapter.bin" },
} as const;

/** Which library a configuration is of: both call the file adapter_config.json. */
export const adapterLibrary = (config: JsonObject): keyof typeof FILES =>
  isAdapterSetup(config) || (config.peft_type === undefined && isJsonObject(config.config))
    ? "adapterHub"
    : "peft";

/** The base model as a configuration of either library names it. */
export function namedBase(config: JsonObject): string | undefined {
  const { base_model_name_or_path: peft, model_name: hub, fusion } = config;
  const name = peft ?? hub ?? (isJsonObject(fusion) ? fusion.model_name : undefined);
  return typeof name === "string" && name !== "" ? name : undefined;
}

/** How a configuration's folder is loaded: by PEFT or by AdapterHub's library, as one or several. */
export const adapterKind = (
  config: JsonObject,
): "adapter" | "adapterMixture" | "adapterHub" | "adapterSetup" => {
  if (hasExperts(config)) return "adapterMixture";
  if (isAdapterSetup(config)) return "adapterSetup";
  return adapterLibrary(config) === "peft" ? "adapter" : "adapterHub";
};

/**
 * Reads an adapter. PEFT's names that still hold `adapterName` (files not saved by PEFT itself) lose it.
 * Throws a TunesmithError ("checkpoint") for a folder that is no adapter; pickles are never opened.
 */
export async function readAdapter(folder: string, adapterName = "default"): Promise<Adapter> {
  if (!statSync(folder, { throwIfNoEntry: false })?.isDirectory()) throw notAnAdapter(folder);
  const setup = await readAdapterSetup(folder);
  if (setup) return setup;
  const config = await readPeftConfig(folder);
  const files = await readdir(folder).catch((error) => {
    throw unreadable(folder, error);
  });
  const library = adapterLibrary(config);
  const { weights, pickle } = FILES[library];
  if (!files.includes(weights)) {
    if (files.includes(pickle)) throw pickleRefused(join(folder, pickle), { adapter: weights });
    throw new TunesmithError("checkpoint", {
      where: folder,
      rule: `an adapter folder holds ${weights}`,
      seen: files.slice(0, 8).join(", "),
      fix: "name the folder that the adapter was saved to",
    });
  }
  const stored = await readAdapterTensors(join(folder, weights));
  if (library === "adapterHub") return { config, tensors: stored };
  const tensors = new Map(
    [...stored].map(([name, tensor]) => [withoutAdapterName(name, adapterName), tensor]),
  );
  if (hasExperts(config)) {
    const tensorsIn = async (inner: string) => {
      const path = join(inner, weights);
      return existsSync(path) ? readAdapterTensors(path) : undefined;
    };
    return withExperts({ config, tensors }, folder, readAdapter, tensorsIn);
  }
  const labels = await readJsonObject(join(folder, LABELS));
  const adapter = { config, tensors, ...(labels && { labels }) };
  if (!files.includes(ENCODER)) return adapter;
  return { ...adapter, encoder: await readAdapterTensors(join(folder, ENCODER)) };
}

/** Writes an adapter, F32 as both libraries do: weights first, so that a folder with a config is complete. */
export async function writeAdapter(
  folder: string,
  { encoder, labels, ...adapter }: Adapter,
): Promise<void> {
  const { config, tensors } = hasExperts(adapter.config)
    ? await writeExperts(folder, adapter, writeAdapter)
    : adapter;
  if (isAdapterSetup(config)) return writeAdapterSetup(folder, { config, tensors });
  // One that was there made other tensors than those that are about to be.
  await rm(join(folder, ENCODER), { force: true });
  const library = adapterLibrary(config);
  await writeAdapterTensors(join(folder, FILES[library].weights), tensors);
  if (encoder) await writeAdapterTensors(join(folder, ENCODER), encoder);
  await rm(join(folder, LABELS), { force: true });
  if (labels) await writeFileAtomically(join(folder, LABELS), toJson(labels));
  if (library === "peft") return writePeftConfig(folder, config);
  await writeFileAtomically(join(folder, ADAPTER_CONFIG), pythonJson(config));
}

/** PEFT's rule: a last component that is the adapter's name goes, else a second-to-last one does. */
export function withoutAdapterName(key: string, adapterName: string): string {
  const parts = key.split(".");
  const at = parts.at(-1) === adapterName ? parts.length - 1 : parts.length - 2;
  if (at > 0 && parts[at] === adapterName) parts.splice(at, 1);
  return parts.join(".");
}
