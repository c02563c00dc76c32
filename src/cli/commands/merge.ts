// `tunesmith merge`: an adapter put into its model, as a model of its own.

import type { Command } from "commander";
import { type Context, describeCommand } from "../command.ts";
import { attend } from "../preparing.ts";

interface Options {
  readonly model: string;
  readonly adapter: string;
  readonly out: string;
}

export function mergeCommand(context: Context): Command {
  const { console } = context;
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
      const merged = await attend(context, async (attended) => {
        await merge({ model, adapter, out, ...attended });
        return true;
      });
      if (!merged) return;
      console.out(`wrote ${out}\n\nNext:\n  tunesmith chat --model ${out}\n`);
    });
}
