// A folder of several adapters with the fusion over them, as AdapterHub's library saves a setup:
// adapter_setup.json, a folder for each adapter and one for the fusion, named by all of them.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { TunesmithError } from "../../errors.ts";
import { writeFileAtomically } from "../atomic-file.ts";
import {
  isJsonObject,
  type JsonObject,
  readJsonObject,
  readJsonObjectAtOnce,
} from "../json-file.ts";
import { makeFolder } from "../make-folder.ts";
import { type AdapterTensors, readAdapterTensors, writeAdapterTensors } from "./adapter-tensors.ts";
import { ADAPTER_CONFIG, notAnAdapter } from "./not-an-adapter.ts";
import { pythonJson } from "./peft-config.ts";

/** The release whose files these are, as AdapterHub's library notes it. */
export const ADAPTERHUB_VERSION = "1.3.0";

const SETUP = "adapter_setup.json";
const FUSION_CONFIG = "adapter_fusion_config.json";
const FUSION_WEIGHTS = "model_adapter_fusion.safetensors";
const WEIGHTS = "adapter.safetensors";

/** A setup in memory: the files' configurations in one, and the tensors of all together. */
interface AdapterSetup {
  readonly config: JsonObject;
  readonly tensors: AdapterTensors;
}

/** Whether a configuration is that of a setup. */
export const isAdapterSetup = (config: JsonObject): boolean => isJsonObject(config.adapter_setup);

/** The adapters that a setup fuses, in their order. */
const fusedNames = (setup: JsonObject): string[] => {
  const { type, children } = setup as { type?: unknown; children?: readonly JsonObject[] };
  if (type !== "Fuse" || !Array.isArray(children)) return [];
  return children.map((child) => String((child.children as unknown[])?.[0] ?? child));
};

/**
 * Reads a setup; undefined where the folder holds none.
 * @throws TunesmithError (checkpoint) for setups other than one fusion of adapters
 */
export async function readAdapterSetup(folder: string): Promise<AdapterSetup | undefined> {
  const setup = await readJsonObject(join(folder, SETUP));
  if (!setup) return undefined;
  const names = fusedNames(setup.adapter_setup as JsonObject);
  if (names.length === 0)
    throw new TunesmithError("checkpoint", {
      where: join(folder, SETUP),
      rule: "a setup is a fusion of adapters (Fuse)",
      seen: JSON.stringify(setup.adapter_setup),
      fix: "name the folder of one of its adapters",
    });
  const fusionFolder = join(folder, names.join(","));
  const fusion = await readJsonObject(join(fusionFolder, FUSION_CONFIG));
  const tensors = new Map(await readAdapterTensors(join(fusionFolder, FUSION_WEIGHTS)));
  const adapters: JsonObject = {};
  for (const name of names) {
    adapters[name] = readFusedConfig(join(folder, name));
    for (const [key, tensor] of await readAdapterTensors(join(folder, name, WEIGHTS)))
      tensors.set(key, tensor);
  }
  return { config: { ...setup, fusion: fusion ?? {}, adapters }, tensors };
}

/** Writes a setup, adapter_setup.json last: a folder that has it is complete. */
export async function writeAdapterSetup(
  folder: string,
  { config, tensors }: AdapterSetup,
): Promise<void> {
  const { fusion, adapters, ...setup } = config;
  const names = fusedNames(setup.adapter_setup as JsonObject);
  const part = async (
    name: string,
    file: string,
    weights: string,
    json: JsonObject,
    isOwn: (key: string) => boolean,
  ) => {
    await makeFolder(join(folder, name));
    const own = new Map([...tensors].filter(([key]) => isOwn(key)));
    await writeAdapterTensors(join(folder, name, weights), own);
    await writeFileAtomically(join(folder, name, file), pythonJson(json));
  };
  for (const name of names)
    await part(name, ADAPTER_CONFIG, WEIGHTS, (adapters as JsonObject)[name] as JsonObject, (key) =>
      [`.adapters.${name}.`, `.shared_parameters.${name}.`].some((text) => key.includes(text)),
    );
  await part(names.join(","), FUSION_CONFIG, FUSION_WEIGHTS, fusion as JsonObject, (key) =>
    key.includes(".adapter_fusion_layer."),
  );
  await writeFileAtomically(join(folder, SETUP), pythonJson(setup));
}

/**
 * The configuration of an adapter that is to be fused, at once: which tensors there are follows from it.
 * @throws TunesmithError (checkpoint) where there is none, or PEFT's
 */
export function readFusedConfig(folder: string): JsonObject {
  const path = join(folder, ADAPTER_CONFIG);
  if (!existsSync(path)) throw notAnAdapter(folder);
  const envelope = readJsonObjectAtOnce(path);
  if (isJsonObject(envelope.config)) return envelope;
  throw new TunesmithError("checkpoint", {
    where: path,
    rule: "a fused adapter is one of AdapterHub's (method: adapter)",
    seen: envelope.peft_type === undefined ? "no config" : `peft_type ${envelope.peft_type}`,
    fix: "train the adapters to be fused with method: adapter",
  });
}
