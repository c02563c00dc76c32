// `tunesmith merge`: an adapter put into its model, as a model of its own.

import type { Command } from "commander";
import type { FloatingType } from "../../engine/save.ts";
import type { RequantizationLoss } from "../../engine/weights/requantization.ts";
import type { QuantizationType } from "../../hub/index.ts";
import { bytesOfSize } from "../bytes-of-size.ts";
import { type Context, describeCommand } from "../command.ts";
import { attend } from "../preparing.ts";

interface Options {
  readonly model: string;
  readonly adapter: string;
  readonly quantization?: QuantizationType;
  readonly dtype?: FloatingType;
  readonly maxShardSize?: string;
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
      [
        "tunesmith merge --model ./base --adapter ./mine --dtype bfloat16 --out ./merged",
        "in 16 bits",
      ],
    ],
  })
    .requiredOption("--model <path|id>", "the model that the adapter was trained on")
    .requiredOption("--adapter <folder>", "the adapter's folder")
    .option("--quantization <type>", "merge into the weights as nf4, fp4 or int8 leaves them")
    .option(
      "--dtype <type>",
      "float32, float16 or bfloat16 (default: as the model has each weight)",
    )
    .option("--max-shard-size <size>", "largest file of weights, such as 500MB or 5GB", "5GB")
    .requiredOption("--out <folder>", "where to write the merged model")
    .action(async ({ model, adapter, quantization, dtype, maxShardSize, out }: Options) => {
      const maxShardBytes = bytesOfSize(maxShardSize!);
      const { merge } = await import("../../recipe/merge.ts");
      const how = { model, adapter, quantization, dtype, maxShardBytes, out };
      const merged = await attend(context, async (attended) => {
        return { loss: await merge({ ...how, ...attended }) };
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
