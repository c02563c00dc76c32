// A model, with an adapter or without, for other programs: one file for llama.cpp, or a folder for ONNX
// Runtime in browsers and in Node.

import { openModel } from "../engine/load.ts";
import { ONNX_DTYPES, type OnnxDtype } from "../engine/onnx-export/write-onnx.ts";
import { checkpointView } from "../engine/weights/checkpoint-view.ts";
import { checkTensors } from "../engine/weights/weights.ts";
import { TunesmithError } from "../errors.ts";
import {
  GGUF_DTYPES,
  type GgufDtype,
  openCheckpoint,
  untilAborted,
  writeGgufModel,
} from "../hub/index.ts";
import { architectureFor } from "../models/index.ts";
import { sizeOf } from "../tensor/index.ts";
import type { Attention } from "./attention.ts";
import { fillEmpty, requireAbsent, requireEmpty } from "./empty-folder.ts";
import { fetchModel } from "./prepare.ts";

interface ExportedModel extends Attention {
  /** Folder, GGUF file or hub id. */
  readonly model: string;
  /** The folder of an adapter to make part of the weights. */
  readonly adapter?: string | undefined;
  /** The file or folder to write; nothing may be there. */
  readonly out: string;
}

export type ExportOptions = ExportedModel &
  (
    | {
        readonly format?: "gguf" | undefined;
        /** The type of the matrices, of those that `GGUF_DTYPES` lists. Default "f16". */
        readonly dtype?: GgufDtype | undefined;
        readonly maxShardBytes?: undefined;
      }
    | {
        readonly format: "onnx";
        /** One of `ONNX_DTYPES`, or several: a graph each, the first being what is loaded by default. Default "q8". */
        readonly dtype?: OnnxDtype | readonly OnnxDtype[] | undefined;
        /** The largest file of weights, in bytes, unless a tensor is larger. Default 2e9: browsers take less than 2 GiB. */
        readonly maxShardBytes?: number | undefined;
      }
  );

/** What can be written, by format, the usual type first named. */
const EXPORT_DTYPES = {
  gguf: { dtypes: Object.keys(GGUF_DTYPES), usual: "f16" },
  onnx: { dtypes: Object.keys(ONNX_DTYPES), usual: "q8" },
} as const;
export type ExportFormat = keyof typeof EXPORT_DTYPES;

/**
 * Writes `out`: a GGUF file with tokenizer and chat template, or the folder of an ONNX model. Of a GGUF file
 * without an adapter, one tensor at a time is in memory; otherwise the model is opened as for a merge.
 *
 * @throws TunesmithError for what the format has no words for, and where something is at `out`
 */
export async function exportModel(options: ExportOptions): Promise<void> {
  const { model, adapter, out, format = "gguf", dtype, maxShardBytes, ...attention } = options;
  const dtypes = checkedDtypes(format, dtype);
  checkShards(format, maxShardBytes);
  if (format === "gguf") await requireAbsent(out, "an exported model");
  else await requireEmpty(out, "an exported model");
  const path = await fetchModel(model, attention);
  const first = dtypes[0] as GgufDtype;
  const { signal } = attention;
  if (format === "gguf" && adapter === undefined) return exportCheckpoint(path, out, first, signal);
  const opened = await openModel(path, {
    ...(adapter !== undefined && { adapter }),
    signal,
    onWarning: attention.onWarning,
  });
  try {
    if (format === "gguf") await opened.exportGguf(out, first, signal);
    else
      await fillEmpty(out, "an exported model", () =>
        opened.exportOnnx(out, dtypes as OnnxDtype[], { maxShardBytes, signal }),
      );
  } finally {
    await opened.dispose();
  }
}

async function exportCheckpoint(
  path: string,
  out: string,
  dtype: GgufDtype,
  signal: AbortSignal | undefined,
): Promise<void> {
  const published = untilAborted(await openCheckpoint(path), signal);
  try {
    const { config } = published;
    const architecture = architectureFor(config, `${path}/config.json`);
    const { weights } = architecture;
    const checkpoint = checkpointView(published, architecture);
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
    await published.close();
  }
}

const SMALLER: Readonly<Record<ExportFormat, string>> = {
  gguf: "use f16, or q4_k for a file of about a quarter of it; llama-quantize makes the other types of an f16 file",
  onnx: "use q8 for WebAssembly, q4 for WebGPU; f32 is exact",
};

/** @throws TunesmithError (config) for a format or a type that there is not */
function checkedDtypes(format: string, wanted: string | readonly string[] | undefined): string[] {
  if (!(format in EXPORT_DTYPES))
    throw new TunesmithError("config", {
      where: "exporting: format",
      rule: `is one of ${Object.keys(EXPORT_DTYPES).join(", ")}`,
      seen: JSON.stringify(format),
      fix: "use gguf for llama.cpp and what is built on it, onnx for browsers",
    });
  const { dtypes, usual } = EXPORT_DTYPES[format as ExportFormat];
  const chosen = [wanted ?? usual].flat();
  const unknown = chosen.filter((dtype) => !dtypes.includes(dtype));
  const isOne = chosen.length === 1 || (format === "onnx" && chosen.length > 1);
  if (unknown.length === 0 && isOne) return chosen;
  throw new TunesmithError("config", {
    where: "exporting: dtype",
    rule: `is one of ${dtypes.join(", ")}${format === "onnx" ? ", or several of them" : ""}`,
    seen: JSON.stringify(wanted),
    fix: SMALLER[format as ExportFormat],
  });
}

/** @throws TunesmithError (config) for a size that there is not, and for a GGUF file, which is one */
function checkShards(format: string, maxShardBytes: number | undefined): void {
  if (maxShardBytes === undefined || (format === "onnx" && maxShardBytes > 0)) return;
  throw new TunesmithError("config", {
    where: "exporting: the largest file",
    rule: "is a number of bytes above 0, of the files of an ONNX folder",
    seen: format === "onnx" ? String(maxShardBytes) : `a size for one ${format} file`,
    fix: "leave it out",
  });
}
