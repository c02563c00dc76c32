// A model, with an adapter or without, as one file for llama.cpp.

import { openModel } from "../engine/load.ts";
import { checkTensors } from "../engine/weights/weights.ts";
import { TunesmithError } from "../errors.ts";
import { GGUF_DTYPES, type GgufDtype, openCheckpoint, writeGgufModel } from "../hub/index.ts";
import { architectureFor } from "../models/index.ts";
import { sizeOf } from "../tensor/index.ts";
import type { Attention } from "./attention.ts";
import { requireAbsent } from "./empty-folder.ts";
import { fetchModel } from "./prepare.ts";

export interface ExportOptions extends Attention {
  /** Folder, GGUF file or hub id. */
  readonly model: string;
  /** The folder of an adapter to make part of the weights. */
  readonly adapter?: string | undefined;
  /** The type of the matrices, of those that `GGUF_DTYPES` lists. Default "f16". */
  readonly dtype?: GgufDtype | undefined;
  /** The file to write; nothing may be there. */
  readonly out: string;
}

/**
 * Writes `out` as a GGUF file with tokenizer and chat template. Without an adapter, one tensor at a time
 * is in memory; with one, the model is opened as for a merge.
 *
 * @throws TunesmithError for what GGUF has no words for, and where something is at `out`
 */
export async function exportModel(options: ExportOptions): Promise<void> {
  const { model, adapter, dtype = "f16", out, ...attention } = options;
  checkDtype(dtype);
  await requireAbsent(out, "an exported model");
  const path = await fetchModel(model, attention);
  if (adapter === undefined) return exportCheckpoint(path, out, dtype);
  const opened = await openModel(path, { adapter, onWarning: attention.onWarning });
  try {
    await opened.exportGguf(out, dtype);
  } finally {
    await opened.dispose();
  }
}

async function exportCheckpoint(path: string, out: string, dtype: GgufDtype): Promise<void> {
  const checkpoint = await openCheckpoint(path);
  try {
    const { config } = checkpoint;
    const { weights } = architectureFor(config, `${path}/config.json`);
    checkTensors(checkpoint, weights);
    const tensors = weights.map(({ name, shape }) => ({
      name,
      shape,
      data: async () => {
        const data = new Float32Array(sizeOf(shape));
        await checkpoint.readFloat32Into(name, data);
        return data;
      },
    }));
    await writeGgufModel(out, { config, tensors, checkpoint }, dtype);
  } finally {
    await checkpoint.close();
  }
}

function checkDtype(dtype: string): asserts dtype is GgufDtype {
  const known = Object.keys(GGUF_DTYPES);
  if (known.includes(dtype)) return;
  throw new TunesmithError("config", {
    where: "exporting: dtype",
    rule: `is one of ${known.join(", ")}`,
    seen: JSON.stringify(dtype),
    fix: "use f16, or q4_k for a file of about a quarter of it; llama-quantize makes the other types of an f16 file",
  });
}
