// `tunesmith export`: a model, with an adapter or without, as one GGUF file or as an ONNX folder.

import type { Command } from "commander";
import type { ExportOptions } from "../../recipe/export.ts";
import { bytesOfSize } from "../bytes-of-size.ts";
import { type Context, describeCommand } from "../command.ts";
import { shortPath } from "../format.ts";
import { attend } from "../preparing.ts";

interface Options {
  readonly model: string;
  readonly adapter?: string;
  readonly format: string;
  readonly dtype?: string;
  readonly maxShardSize?: string;
  readonly out: string;
}

export function exportCommand(context: Context): Command {
  return describeCommand({
    usage: "export",
    summary: "write a model as a GGUF file for llama.cpp, or in ONNX for browsers",
    details:
      "Tokenizer and chat template go along; an adapter becomes part of the weights. A GGUF file is for llama.cpp and what is built on it, an ONNX folder for transformers.js and ONNX Runtime.",
    options: [
      ["--adapter <folder>", "an adapter to make part of the weights"],
      ["--format <name>", "gguf, or onnx", "gguf"],
      [
        "--dtype <type>",
        "gguf: f32, f16 (default), bf16, q8_0 or q4_k; onnx: f32, f16, q8 (default), q4 or q4f16, several with commas",
      ],
      ["--max-shard-size <size>", "onnx: largest file of weights, such as 500MB (default: 2GB)"],
    ],
    examples: [
      ["tunesmith export --model ./merged --dtype q8_0 --out model.gguf", "in 8 bits"],
      [
        "tunesmith export --model ./base --adapter runs/mine-1/adapter --dtype q4_k --out mine.gguf",
        "merged, in 4 bits",
      ],
      [
        "tunesmith export --model ./merged --format onnx --dtype q4,f32 --out web",
        "a folder for transformers.js",
      ],
    ],
  })
    .requiredOption("--model <path|id>", "the model")
    .requiredOption("--out <path>", "the file or folder to write")
    .action(async ({ dtype, maxShardSize, ...options }: Options) => {
      const { exportModel } = await import("../../recipe/export.ts");
      // What was typed is checked where the types are known.
      const dtypes = dtype?.split(",");
      const wanted = {
        ...options,
        dtype: dtypes?.length === 1 ? dtypes[0] : dtypes,
        ...(maxShardSize !== undefined && { maxShardBytes: bytesOfSize(maxShardSize) }),
      };
      const done = await attend(context, async (attended) => {
        await exportModel({ ...wanted, ...attended } as ExportOptions);
        return true;
      });
      if (done) context.console.out(`wrote ${shortPath(options.out)}\n`);
    });
}
