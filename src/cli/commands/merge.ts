// `tunesmith merge`: an adapter put into its model, as a model of its own.

import type { Command } from "commander";
import type { RequantizationLoss } from "../../engine/weights/requantization.ts";
import type { QuantizationType } from "../../hub/index.ts";
import { type Context, describeCommand } from "../command.ts";
import { attend } from "../preparing.ts";

interface Options {
  readonly model: string;
  readonly adapter: string;
  readonly quantization?: QuantizationType;
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
    .option("--quantization <type>", "merge into the weights as nf4, fp4 or int8 leaves them")
    .requiredOption("--out <folder>", "where to write the merged model")
    .action(async ({ model, adapter, quantization, out }: Options) => {
      const { merge } = await import("../../recipe/merge.ts");
      const merged = await attend(context, async (attended) => {
        return { loss: await merge({ model, adapter, quantization, out, ...attended }) };
      });
      if (!merged) return;
      if (merged.loss) console.out(requantizationNote(merged.loss));
      console.out(`wrote ${out}\n\nNext:\n  tunesmith chat --model ${out}\n`);
    });
}

function requantizationNote({ type, error, change }: RequantizationLoss): string {
  const percent = (share: number) => `${(100 * share).toPrecision(2)} %`;
  return (
    `The merged weights are not quantised. The adapter moved them by ${percent(change)}; ` +
    `quantised to ${type} again they would be off by ${percent(error)}.\n`
  );
}
