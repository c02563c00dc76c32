// `tunesmith data preview`: training data as the model will see them.

import { Command } from "commander";
import { TunesmithError } from "../../errors.ts";
import { type Context, describeCommand } from "../command.ts";
import { attend } from "../preparing.ts";

interface Options {
  readonly samples: string;
  readonly json?: boolean;
}

export function dataCommand(context: Context): Command {
  return new Command("data")
    .summary("look at training data")
    .description("look at training data")
    .addCommand(previewCommand(context));
}

function previewCommand(context: Context): Command {
  const { console, overrides } = context;
  return describeCommand({
    usage: "preview <recipe>",
    summary: "show samples with what is trained on, counts and what is cut or left out",
    arguments: { recipe: "the recipe's file" },
    options: [
      ["--samples <count>", "samples to show", "3"],
      ["--json", "as JSON"],
    ],
    examples: [
      ["tunesmith data preview recipe.yaml", "the first samples"],
      ["tunesmith data preview recipe.yaml --data.loss all", "with another value for one key"],
    ],
    takesOverrides: true,
  }).action(async (file: string, { samples, json }: Options) => {
    const { previewRecipeData } = await import("../../recipe/data.ts");
    const count = readCount(samples);
    const preview = await attend(context, (attended) =>
      previewRecipeData(file, { overrides, samples: count, ...attended }),
    );
    if (preview === undefined) return;
    const { showPreview } = await import("../show-preview.ts");
    console.out(json ? `${JSON.stringify(preview)}\n` : showPreview(preview, console.outColors));
  });
}

function readCount(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 0) return count;
  throw new TunesmithError("config", {
    where: "--samples",
    rule: "a whole number of at least 0",
    seen: text,
    fix: "write --samples 3",
  });
}
