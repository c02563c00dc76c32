// `tunesmith eval`: the held-out loss of a recipe's model, or of any model and adapter on any data.

import type { Command } from "commander";
import { TunesmithError } from "../../errors.ts";
import type { QuantizationType } from "../../hub/index.ts";
import type { EvaluationReport } from "../../recipe/evaluate.ts";
import type { Evaluation } from "../../train/index.ts";
import { type Context, describeCommand } from "../command.ts";
import { formatTable, measures, shortPath } from "../format.ts";
import { attend } from "../preparing.ts";

interface Options {
  readonly model?: string;
  readonly adapter?: string;
  readonly quantization?: QuantizationType;
  readonly data?: string;
  readonly json?: boolean;
}

export function evalCommand(context: Context): Command {
  const { console, overrides } = context;
  return describeCommand({
    usage: "eval [recipe]",
    summary: "measure the held-out loss of a model, before and after its training",
    arguments: { recipe: "the recipe's file; its eval data are measured" },
    options: [
      ["--model <path|id>", "a model, instead of the recipe's"],
      ["--adapter <folder>", "an adapter (default: that of the recipe's newest run)"],
      ["--data <file>", "data to measure, instead of the recipe's"],
      ["--quantization <type>", "keep the model's linear weights as nf4, fp4 or int8"],
      ["--json", "as JSON"],
    ],
    examples: [
      ["tunesmith eval recipe.yaml", "base model against the newest adapter of the recipe"],
      [
        "tunesmith eval --model ./base --adapter runs/mine-1/adapter --data test.jsonl",
        "without a recipe",
      ],
    ],
    takesOverrides: true,
  }).action(async (recipe: string | undefined, { json, ...options }: Options) => {
    if (recipe === undefined && (options.model === undefined || options.data === undefined))
      throw new TunesmithError("config", {
        where: "tunesmith eval",
        rule: "it needs a recipe, or a model and data",
        seen: options.model === undefined ? "neither a recipe nor --model" : "no --data",
        fix: "write `tunesmith eval recipe.yaml`, or --model … --data …",
      });
    const { evaluateRecipe } = await import("../../recipe/evaluate.ts");
    const report = await attend(context, (attended) =>
      evaluateRecipe({ recipe, overrides, ...options, ...attended }),
    );
    if (report === undefined) return;
    console.out(json ? `${JSON.stringify(report)}\n` : describeReport(report));
  });
}

function describeReport({ targetTokens, base, adapted }: EvaluationReport): string {
  const row = (name: string, result: Evaluation) => [
    name,
    result.loss.toFixed(4),
    ...measures(result).map(([, value]) => value),
  ];
  const what = base.perplexity === undefined ? "texts" : "tokens";
  return formatTable([
    [`${targetTokens} ${what} measured`, "loss", ...measures(base).map(([name]) => name)],
    row("model alone", base),
    ...(adapted === undefined ? [] : [row(`with ${shortPath(adapted.adapter)}`, adapted)]),
  ]);
}
