// The trained adapters that a fusion is of: read from their folders, and frozen.

import { type Fault, TunesmithError } from "../../errors.ts";
import { type Adapter, type JsonObject, readAdapter, readFusedConfig } from "../../hub/index.ts";
import type { ParameterSpec } from "../method.ts";
import type { Bottleneck } from "./bottleneck.ts";
import {
  type BottleneckSettings,
  bottleneckSettings,
  fromBottleneckConfig,
} from "./bottleneck-options.ts";

/** A trained adapter that takes part. */
export interface Fused {
  readonly name: string;
  readonly envelope: JsonObject;
  readonly settings: BottleneckSettings;
}

/**
 * What the configurations in the folders say.
 * @throws TunesmithError (checkpoint) for folders that hold no adapters, (config) for adapters that do
 *   not go together
 */
export function readFused(folders: readonly string[]): Fused[] {
  const fused = folders.map((folder): Fused => {
    const envelope = readFusedConfig(folder);
    const config = envelope.config as JsonObject;
    const settings = bottleneckSettings(
      fromBottleneckConfig(config, `${folder}/adapter_config.json`),
    );
    // What only training has is over.
    const inUse = { ...settings, dropout: 0, stochasticDepth: 0 };
    return { name: String(envelope.name), envelope, settings: inUse };
  });
  checkFused(fused, folders);
  return fused;
}

interface FrozenAdapter {
  /** One of its bottlenecks with its tensors as they are in the folder, not to be trained. */
  readonly freeze: (adapter: Bottleneck) => Bottleneck;
  /** Reads what was frozen. @throws TunesmithError (checkpoint) for tensors that do not fit the model */
  readonly checkFile: () => Promise<void>;
}

/** The adapter of a folder. */
export function frozenFrom(folder: string, { phm }: BottleneckSettings): FrozenAdapter {
  let file: Promise<Adapter> | undefined;
  const known = new Map<string, ParameterSpec>();
  const read = async ({ key, shape }: ParameterSpec): Promise<Float32Array> => {
    file ??= readAdapter(folder);
    const tensor = (await file).tensors.get(key);
    if (tensor?.shape.join() === shape.join()) return tensor!.data;
    throw new TunesmithError("checkpoint", {
      where: `${folder}: ${key}`,
      rule: `the base model asks for a tensor of shape [${shape.join(", ")}]`,
      seen: tensor ? `[${tensor.shape.join(", ")}]` : "no such tensor",
      fix: `fuse adapters of this base${phm ? ", trained with the same options" : ""}`,
    });
  };
  const asFrozen = (own: ParameterSpec): ParameterSpec => {
    const { key, shape } = own;
    const found = known.get(key) ?? { key, shape, frozen: true, initial: () => read(own) };
    known.set(key, found);
    return found;
  };
  return {
    freeze: (adapter) => ({
      ...adapter,
      parameters: adapter.parameters.map(asFrozen),
      up: (z, scope) =>
        adapter.up(z, { ...scope, parameter: (own) => scope.parameter(asFrozen(own)) }),
    }),
    async checkFile() {
      for (const spec of known.values()) await read(spec);
    },
  };
}

/** Settings that decide where adapters sit and what they read: the last one's are those of all. */
const SHARED = [
  "afterAttention",
  "afterFeedForward",
  "leaveOut",
  "originalNormBefore",
  "originalNormAfter",
  "residualBeforeNorm",
] as const satisfies readonly (keyof BottleneckSettings)[];

/** What a fused adapter cannot have: the library leaves it out of a fusion. */
const ALONE = [
  "parallel",
  "gated",
  "normAfter",
  "invertible",
] as const satisfies readonly (keyof BottleneckSettings)[];

/** @throws TunesmithError (config) with every fault */
function checkFused(fused: readonly Fused[], folders: readonly string[]): void {
  const faults: Fault[] = [];
  const last = fused.at(-1)!;
  fused.forEach(({ name, settings }, i) => {
    const where = `method.adapters.${i} (${folders[i]})`;
    const twin = fused.findIndex((other) => other.name === name);
    if (twin < i)
      faults.push({
        where,
        rule: "adapters to be fused have different names",
        seen: `${JSON.stringify(name)}, the name of ${folders[twin]} too`,
        fix: "train one of them under another method.adapterName",
      });
    for (const option of ALONE)
      if (settings[option])
        faults.push({
          where,
          rule: "an adapter to be fused is behind its half of the block, and its output all it adds",
          seen: `${option}: ${settings[option]}`,
          fix: `train it without ${option}`,
        });
    for (const option of SHARED)
      if (String(settings[option]) !== String(last.settings[option]))
        faults.push({
          where,
          rule: "adapters to be fused sit at the same places",
          seen: `${option}: ${settings[option]}, where ${JSON.stringify(last.name)} has ${last.settings[option]}`,
          fix: "train them with the same preset and leaveOut",
        });
  });
  if (faults.length > 0) throw new TunesmithError("config", faults);
}
