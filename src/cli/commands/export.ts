// `tunesmith export`: a model, with an adapter or without, as one GGUF file.

import type { Command } from "commander";
import type { GgufDtype } from "../../hub/index.ts";
import { type Context, describeCommand } from "../command.ts";
import { shortPath } from "../format.ts";
import { attend } from "../preparing.ts";

interface Options {
  readonly model: string;
  readonly adapter?: string;
  readonly dtype: GgufDtype;
  readonly out: string;
}

export function exportCommand(context: Context): Command {
  return describeCommand({
    usage: "export",
    summary: "write a model as a GGUF file, for llama.cpp and what is built on it",
    details:
      "Tokenizer and chat template go into the file; an adapter becomes part of the weights.",
    options: [
      ["--adapter <folder>", "an adapter to make part of the weights"],
      ["--dtype <type>", "f32, f16, bf16, q8_0 or q4_k", "f16"],
    ],
    examples: [
      ["tunesmith export --model ./merged --dtype q8_0 --out model.gguf", "in 8 bits"],
      [
        "tunesmith export --model ./base --adapter runs/mine-1/adapter --dtype q4_k --out mine.gguf",
        "merged, in 4 bits",
      ],
    ],
  })
    .requiredOption("--model <path|id>", "the model")
    .requiredOption("--out <file>", "the file to write")
    .action(async (options: Options) => {
      const { exportModel } = await import("../../recipe/export.ts");
      const done = await attend(context, async (attended) => {
        await exportModel({ ...options, ...attended });
        return true;
      });
      if (done) context.console.out(`wrote ${shortPath(options.out)}\n`);
    });
}
