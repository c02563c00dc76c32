// Sliding windows: how far back the positions of each layer see, as config.json says it.

import type { Dimensions, Reach } from "./architecture.ts";
import type { ConfigReader } from "./config-reader.ts";

/** The window, where some layer has one, and how far each layer looks back. */
export interface Windows extends Pick<Dimensions, "slidingWindow"> {
  /** One a layer; absent where all are alike. */
  readonly reaches?: readonly Reach[];
}

const REACH_OF: Readonly<Record<string, Reach>> = {
  full_attention: "global",
  sliding_attention: "local",
};

/**
 * A window that all layers have.
 * @param fallback what a config without the key means; null in it means none
 */
export function readWindow(reader: ConfigReader, fallback?: number): Windows {
  const isSaid = reader.has("sliding_window") || reader.isNull("sliding_window");
  const hasWindow = !reader.isNull("sliding_window") && (isSaid || fallback !== undefined);
  onlyLayerType(reader, hasWindow ? "sliding_attention" : "full_attention");
  return hasWindow ? { slidingWindow: reader.integer("sliding_window", fallback) } : {};
}

/** Refuses layers of other types: Transformers passes `layer_types` over where all layers are alike. */
function onlyLayerType(reader: ConfigReader, type: string): void {
  if (reader.list("layer_types").some((one) => one !== type))
    reader.fault("layer_types", `only "${type}" is supported in every layer`);
}

/**
 * Windows by layer, as `layer_types` says.
 * @param usual what a config without that key means
 * @param hasWindow whether there is a window to look through
 */
export function readLayerWindows(
  reader: ConfigReader,
  layers: number,
  usual: (layer: number) => Reach,
  hasWindow = !reader.isNull("sliding_window"),
): Windows {
  const named = reader.list("layer_types");
  const reaches = reader.has("layer_types")
    ? named.map((type) => REACH_OF[String(type)] ?? "global")
    : Array.from({ length: layers }, (_, layer) => usual(layer));
  if (reaches.length !== layers)
    reader.fault("layer_types", `must name the attention of ${layers} layers`);
  if (named.some((type) => !(String(type) in REACH_OF)))
    reader.fault("layer_types", `must each be one of ${Object.keys(REACH_OF).join(", ")}`);
  if (!reaches.includes("local")) return {};
  if (!hasWindow)
    reader.fault("sliding_window", "must be there where layers have sliding attention");
  return { reaches, slidingWindow: reader.integer("sliding_window", 4096) };
}

/**
 * The windows of the Qwens, which are there where `use_sliding_window` says so.
 * @param usual what a config without `layer_types` means; absent where all layers are alike
 */
export function readQwenWindows(
  reader: ConfigReader,
  layers: number,
  usual?: (layer: number) => Reach,
): Windows {
  const isUsed = reader.boolean("use_sliding_window", false) && !reader.isNull("sliding_window");
  if (usual) return readLayerWindows(reader, layers, isUsed ? usual : () => "global", isUsed);
  if (isUsed) return readWindow(reader, 4096);
  onlyLayerType(reader, "full_attention");
  return {};
}

/** In Qwen2 and Qwen3, all layers from `max_window_layers` on have one. */
export function readUpperWindows(reader: ConfigReader, layers: number): Windows {
  const first = reader.number("max_window_layers", 28);
  return readQwenWindows(reader, layers, (layer) => (layer >= first ? "local" : "global"));
}
