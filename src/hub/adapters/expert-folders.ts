// A mixture over LoRA adapters, PEFT's X-LoRA: the classifier in adapter_model.safetensors, and the experts
// wherever its configuration says they are. Written here, they lie beside it, in folders expert-0, expert-1, …
// In memory it is one adapter: an expert's tensors have its number in front of their keys, and its
// configuration is in `experts`.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { TunesmithError } from "../../errors.ts";
import { isJsonObject, type JsonObject, readJsonObjectAtOnce } from "../json-file.ts";
import { makeFolder } from "../make-folder.ts";
import type { AdapterTensors } from "./adapter-tensors.ts";
import { ADAPTER_CONFIG, notAnAdapter } from "./not-an-adapter.ts";

/** What is read and written here, given how one adapter is. */
interface Adapter {
  readonly config: JsonObject;
  readonly tensors: AdapterTensors;
}

/** Whether a configuration is that of a mixture over adapters. */
export const hasExperts = ({ peft_type, adapters }: JsonObject): boolean =>
  peft_type === "XLORA" && isJsonObject(adapters);

/** The key of an expert's tensor among those of the mixture. */
export const expertKey = (expert: number, key: string): string => `${expert}.${key}`;

const folderName = (expert: number): string => `expert-${expert}`;

/**
 * The folders of a mixture's experts, in their order: those beside the classifier, or else where its
 * configuration says they are.
 */
export function expertFolders({ adapters }: JsonObject, folder: string): string[] {
  return Object.entries(adapters as JsonObject).map(([, path], expert) => {
    const beside = join(folder, folderName(expert));
    const isElsewhere = !existsSync(join(beside, ADAPTER_CONFIG)) && existsSync(String(path));
    return isElsewhere ? String(path) : beside;
  });
}

/**
 * An expert's configuration, at once: which tensors there are follows from it.
 * @throws TunesmithError (checkpoint) where there is none, or that of another method
 */
export function readExpertConfig(folder: string): JsonObject {
  const path = join(folder, ADAPTER_CONFIG);
  if (!existsSync(path)) throw notAnAdapter(folder);
  const config = readJsonObjectAtOnce(path);
  if (config.peft_type === "LORA") return config;
  throw new TunesmithError("checkpoint", {
    where: path,
    rule: "an expert of X-LoRA is a LoRA as PEFT saves it",
    seen: config.peft_type === undefined ? "no peft_type" : `peft_type ${config.peft_type}`,
    fix: "train the adapters that are to be mixed with method: lora",
  });
}

/**
 * Adds its experts to a classifier. PEFT 0.21.2 names experts 0, 1, … and takes the classifier's layers of
 * such numbers for theirs: they are in folders of these names, without the number.
 * @param readTensors how a folder's tensors are read; undefined where there are none
 */
export async function withExperts(
  { config, tensors }: Adapter,
  folder: string,
  read: (folder: string) => Promise<Adapter>,
  readTensors: (folder: string) => Promise<AdapterTensors | undefined>,
): Promise<Adapter> {
  const all = new Map(tensors);
  const experts: JsonObject[] = [];
  for (const [expert, path] of expertFolders(config, folder).entries()) {
    const own = await read(path);
    experts.push(own.config);
    for (const [key, tensor] of own.tensors) all.set(expertKey(expert, key), tensor);
    for (const [key, tensor] of (await readTensors(join(folder, String(expert)))) ?? []) {
      const layer = /^(.*\.internal_xlora_classifier\.layers)\.(\w+)$/.exec(key);
      if (layer) all.set(`${layer[1]}.${expert}.${layer[2]}`, tensor);
    }
  }
  return { config: { ...config, experts }, tensors: all };
}

/** Writes the experts into their folders; returns the classifier, whose configuration names these. */
export async function writeExperts(
  folder: string,
  { config, tensors }: Adapter,
  write: (folder: string, adapter: Adapter) => Promise<void>,
): Promise<Adapter> {
  const { experts, ...own } = config;
  const rest = new Map(tensors);
  for (const [expert, expertConfig] of (experts as readonly JsonObject[]).entries()) {
    const prefix = expertKey(expert, "");
    const ofExpert = [...tensors].filter(([key]) => key.startsWith(prefix));
    for (const [key] of ofExpert) rest.delete(key);
    const path = join(folder, folderName(expert));
    await makeFolder(path);
    const plain = ofExpert.map(([key, tensor]) => [key.slice(prefix.length), tensor] as const);
    await write(path, { config: expertConfig, tensors: new Map(plain) });
  }
  // Not where they were read from: the folder may go to another machine, and tells nothing of this one.
  const adapters = Object.keys(own.adapters as JsonObject).map((name, i) => [name, folderName(i)]);
  return { config: { ...own, adapters: Object.fromEntries(adapters) }, tensors: rest };
}
