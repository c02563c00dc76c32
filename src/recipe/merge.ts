// An adapter put into its model: a checkpoint that needs no adapter any more.

import { openModel } from "../engine/load.ts";
import { checkFolderOptions, type FloatingType } from "../engine/save.ts";
import type { RequantizationLoss } from "../engine/weights/requantization.ts";
import type { QuantizationType } from "../hub/index.ts";
import type { Attention } from "./attention.ts";
import { fillEmpty, requireEmpty } from "./empty-folder.ts";
import { fetchModel } from "./prepare.ts";

export interface MergeOptions extends Attention {
  /** Folder, GGUF file or hub id of the model that the adapter was trained on. */
  readonly model: string;
  /** The adapter's folder. */
  readonly adapter: string;
  /** Merges into the weights as quantising leaves them, as a QLoRA was trained; default: as they are. */
  readonly quantization?: QuantizationType;
  /** The type of all weights. Default: each as the base has it. */
  readonly dtype?: FloatingType | undefined;
  /** Largest file of weights, in bytes. Default 5e9, as in Transformers. */
  readonly maxShardBytes?: number | undefined;
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
  const { model, adapter, quantization: type, dtype, maxShardBytes, out, ...attention } = options;
  checkFolderOptions(options);
  await requireEmpty(out, "a merged model");
  const { signal } = attention;
  const opened = await openModel(await fetchModel(model, attention), {
    adapter,
    quantization: { type },
    signal,
    onWarning: attention.onWarning,
  });
  try {
    return await fillEmpty(out, "a merged model", () =>
      opened.merge(out, { dtype, maxShardBytes, signal }),
    );
  } finally {
    await opened.dispose();
  }
}
