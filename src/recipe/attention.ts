// How whoever waits for a recipe's work is kept informed, and stops it.

import type { LookProgress } from "../engine/starting-data.ts";
import type { DownloadProgress } from "../hub/index.ts";

/** What is going on before a recipe's work begins. */
export type PrepareProgress =
  | ({ readonly stage: "download" } & DownloadProgress)
  | { readonly stage: "read"; readonly records: number }
  | ({ readonly stage: "look" } & LookProgress);

/** How whoever waits for a recipe's work follows it, and stops it. */
export interface Attention {
  /** Aborting ends a download, the reading of data or weights, and writing, with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PrepareProgress) => void;
  /** Told in one line what looks wrong and may be right: an adapter that names another base. */
  readonly onWarning?: (warning: string) => void;
}
