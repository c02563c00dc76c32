// A config.json as the metadata of a GGUF file: the way back of gguf-config.ts. Keys are those of
// llama.cpp's converter; what llama.cpp would compute otherwise is refused.

import { type Fault, TunesmithError } from "../../errors.ts";
import type { JsonObject } from "../json-file.ts";
import {
  type Entries,
  type FurtherKey,
  type GgufArchitecture,
  type Sizes,
  settingOf,
} from "./gguf-architecture.ts";
import { type RopeFactors, writtenRope } from "./gguf-rope.ts";
import { sizeEntries, sizesOfConfig } from "./gguf-sizes.ts";
import type { GgufEntry } from "./gguf-writer.ts";

export interface WrittenConfig {
  readonly entries: Entries;
  readonly factors: RopeFactors;
  readonly sizes: Sizes;
}

/**
 * @param source for errors
 * @throws TunesmithError (checkpoint) for settings that llama.cpp computes otherwise, all of them
 */
export function writtenConfig(
  config: JsonObject,
  architecture: GgufArchitecture,
  source: string,
): WrittenConfig {
  const { name, modelType, fixed, further = [], headsFillHidden, own } = architecture;
  const faults: Fault[] = [];
  const refuse = (key: string, rule: string, seen = spelled(config[key])) =>
    void faults.push({
      where: `${source}: ${key}`,
      rule,
      seen,
      fix: "keep this model as a model folder: tunesmith merge",
    });
  for (const [key, allowed] of Object.entries(fixed)) {
    const value = spelled(settingOf(config, key, architecture) ?? allowed[0]);
    if (allowed.every((one) => spelled(one) !== value))
      refuse(key, `llama.cpp computes a ${modelType} with ${spelled(allowed[0])}`, value);
  }
  const sizes = sizesOfConfig(config, architecture);
  const { heads, headSize, hidden, positions } = sizes;
  if (headsFillHidden && heads * headSize !== hidden)
    refuse(
      architecture.keys.headSize ?? architecture.keys.heads,
      `in llama.cpp the heads of a ${modelType} share the hidden size, ${hidden}`,
      `${heads} heads of ${headSize}`,
    );
  // llama.cpp has no windows here: within one, positions see each other as they were trained to.
  const window = windowOf(config, architecture) ?? positions;
  const rope = writtenRope(config, architecture, sizes, refuse);
  const entries: Entries = [
    ...sizeEntries(sizes, architecture, Math.min(positions, window)),
    ...rope.entries,
    ...further.flatMap((one) => furtherEntry(one, config, architecture)),
    ...(own?.entries?.(config, sizes, refuse) ?? []),
  ];
  if (faults.length > 0) throw new TunesmithError("checkpoint", faults);
  return {
    entries: entries.map(([key, value]) => [`${name}.${key}`, value]),
    factors: rope.factors,
    sizes,
  };
}

const spelled = (value: unknown): string => JSON.stringify(value) ?? "no such key";

function furtherEntry(
  { key, config: names, as }: FurtherKey,
  config: JsonObject,
  architecture: GgufArchitecture,
): Entries {
  const value = names.map((one) => config[one]).find((one) => one != null);
  const found = value ?? architecture.defaults[names[0]!];
  return found == null ? [] : [[key, { [as]: found } as unknown as GgufEntry]];
}

/** How far back a position sees, where a model has a window that the file does not say. */
function windowOf(config: JsonObject, architecture: GgufArchitecture): number | undefined {
  const { defaults } = architecture;
  if (architecture.hasWindows || settingOf(config, "use_sliding_window", architecture) === false)
    return undefined;
  if (config.sliding_window === null) return undefined;
  const window = settingOf(config, "sliding_window", architecture);
  if (window === undefined) return undefined;
  const { layer_types: types, num_hidden_layers: layers } = config;
  if (Array.isArray(types) && !types.includes("sliding_attention")) return undefined;
  // Layers from this one on have a window in Qwen2 and Qwen3.
  const first = "max_window_layers" in defaults && !Array.isArray(types);
  const from = first ? Number(settingOf(config, "max_window_layers", architecture)) : 0;
  return from >= Number(layers) ? undefined : Number(window);
}
