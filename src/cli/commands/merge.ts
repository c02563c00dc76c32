// `tunesmith merge`: an adapter put into its model, as a model of its own.

import type { Command } from "commander";
import { type Context, describeCommand } from "../command.ts";

interface Options {
  readonly model: string;
  readonly adapter: string;
  readonly out: string;
}

export function mergeCommand({ console }: Context): Command {
  return describeCommand({
    usage: "merge",
    summary: "put an adapter into its model, as a model folder of its own",
    examples: [
      [
        "tunesmith merge --model ./base --adapter runs/mine-1/adapter --out ./merged",
        "write ./merged",
      ],
    ],
  })
    .requiredOption("--model <path|id>", "the model that the adapter was trained on")
    .requiredOption("--adapter <folder>", "the adapter's folder")
    .requiredOption("--out <folder>", "where to write the merged model")
    .action(async ({ model, adapter, out }: Options) => {
      const { merge } = await import("../../recipe/merge.ts");
      await merge({ model, adapter, out });
      console.out(`wrote ${out}\n\nNext:\n  tunesmith chat --model ${out}\n`);
    });
}
