// An adapter put into its model: a checkpoint that needs no adapter any more.

import { readdir } from "node:fs/promises";
import { openModel } from "../engine/load.ts";
import type { RequantizationLoss } from "../engine/requantization.ts";
import { TunesmithError } from "../errors.ts";
import type { QuantizationType } from "../hub/index.ts";
import { type Attention, fetchModel } from "./prepare.ts";

export interface MergeOptions extends Attention {
  /** Folder, GGUF file or hub id of the model that the adapter was trained on. */
  readonly model: string;
  /** The adapter's folder. */
  readonly adapter: string;
  /** Merges into the weights as quantising leaves them, as a QLoRA was trained; default: as they are. */
  readonly quantization?: QuantizationType;
  /** The folder to write; it must be empty or absent. */
  readonly out: string;
}

/**
 * Writes `out` as a model folder in the Hugging Face layout, unquantised.
 *
 * @returns what quantising it again would lose, where the weights were quantised
 *
 * @throws TunesmithError where the files do not fit each other or `out` holds something.
 */
export async function merge(options: MergeOptions): Promise<RequantizationLoss | undefined> {
  const { model, adapter, quantization: type, out, ...attention } = options;
  await requireEmpty(out);
  const opened = await openModel(await fetchModel(model, attention), {
    adapter,
    quantization: { type },
  });
  try {
    return await opened.merge(out);
  } finally {
    await opened.dispose();
  }
}

async function requireEmpty(folder: string): Promise<void> {
  const present = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw new TunesmithError(
      "run",
      {
        where: folder,
        rule: "the merged model is written into a folder",
        seen: error.code === "ENOTDIR" ? "a file" : error.message,
        fix: "give another folder",
      },
      { cause: error },
    );
  });
  if (present.length === 0) return;
  throw new TunesmithError("run", {
    where: folder,
    rule: "a merged model does not overwrite files",
    seen: `a folder with ${present.length} files`,
    fix: "give a folder that is empty or does not exist yet",
  });
}
