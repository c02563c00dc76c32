// What models there are: the architectures and formats that the code has.

import { ONNX_DTYPES } from "../engine/onnx-export/write-onnx.ts";
import { FLOATING_TYPES } from "../engine/save.ts";
import { MODEL_DTYPES } from "../engine/weights/model-dtype.ts";
import {
  FLOAT_DTYPES,
  GGUF_DTYPES,
  GGUF_MODEL_TYPES,
  GGUF_TYPE_NAMES,
  KEPT_TYPES,
  QUANTIZATION_TYPES,
} from "../hub/index.ts";
import { coveredModels } from "../models/index.ts";

export interface SupportedModels {
  readonly architectures: readonly {
    readonly modelType: string;
    /** The models that use it. */
    readonly covers: string;
    readonly gguf: "read and written" | "";
  }[];
  /** What is read, written, and kept in memory, by format. */
  readonly formats: readonly { readonly what: string; readonly types: readonly string[] }[];
}

/** The architectures and formats that the code has. */
export function supportedModels(): SupportedModels {
  const architectures = [...coveredModels].map(([modelType, covers]) => ({
    modelType,
    covers,
    gguf: GGUF_MODEL_TYPES.includes(modelType) ? ("read and written" as const) : ("" as const),
  }));
  return {
    architectures,
    formats: [
      { what: "safetensors, read", types: FLOAT_DTYPES },
      { what: "safetensors, written", types: Object.values(FLOATING_TYPES) },
      { what: "safetensors quantised by bitsandbytes, read", types: QUANTIZATION_TYPES },
      { what: "safetensors of GPTQ, read", types: ["4 bits", "2, 3 and 8 (widened)"] },
      { what: "safetensors of AWQ, read", types: ["4 bits"] },
      { what: "GGUF, read", types: GGUF_TYPE_NAMES },
      { what: "GGUF, written (tunesmith export)", types: Object.keys(GGUF_DTYPES) },
      { what: "ONNX, written (tunesmith export)", types: Object.keys(ONNX_DTYPES) },
      { what: "in memory (dtype)", types: MODEL_DTYPES },
      { what: "in memory under training (quantization)", types: KEPT_TYPES },
    ],
  };
}
