// Sliding windows: how far back a position sees, as config.json says it.

import type { Dimensions } from "./architecture.ts";
import type { ConfigReader } from "./config-reader.ts";

/**
 * A window that all layers have.
 * @param fallback what a config without the key means; null in it means none
 */
export function readWindow(
  reader: ConfigReader,
  fallback?: number,
): Pick<Dimensions, "slidingWindow"> {
  const isSaid = reader.has("sliding_window") || reader.isNull("sliding_window");
  if (reader.isNull("sliding_window") || (!isSaid && fallback === undefined)) return {};
  return { slidingWindow: reader.integer("sliding_window", fallback) };
}

/**
 * Refuses windows that some layers have and others not: all layers share one mask here.
 * @param isBeyondLayers whether the layers that would have one lie behind the last
 */
export function refuseWindows(reader: ConfigReader, isBeyondLayers: boolean): void {
  const types = reader.list("layer_types");
  if (types.some((type) => type !== "full_attention"))
    reader.fault("layer_types", 'only "full_attention" is supported in every layer');
  else if (types.length === 0 && !isBeyondLayers) reader.only("use_sliding_window", false);
}
