// How a recipe's datasets of the hub are found: which split each side takes, and how far a download is.

import { type DatasetSide, READERS, type ResolveDataset } from "../data/index.ts";
import { resolveDataset } from "../hub/index.ts";
import type { Attention } from "./attention.ts";

/** The split of a hub dataset that each side takes where the recipe names none. */
const USUAL_SPLITS: Readonly<Record<DatasetSide, readonly string[]>> = {
  train: ["train"],
  eval: ["validation", "test"],
};

export const datasetResolver =
  ({ signal, onProgress }: Attention): ResolveDataset =>
  (reference, side) =>
    resolveDataset(reference, {
      splits: USUAL_SPLITS[side],
      extensions: Object.keys(READERS),
      signal,
      onProgress: (progress) => onProgress?.({ stage: "download", ...progress }),
    });
