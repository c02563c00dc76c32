// `tunesmith data preview`: training data as the model will see them.

import { Command } from "commander";
import { type Context, describeCommand } from "../command.ts";
import { formatTable } from "../format.ts";
import { previewLegend, showPreviewRows } from "../show-preview.ts";

interface Options {
  readonly rows: string;
  readonly json?: boolean;
}

export function dataCommand(context: Context): Command {
  return new Command("data")
    .summary("look at training data")
    .description("look at training data")
    .addCommand(previewCommand(context));
}

function previewCommand({ console, overrides }: Context): Command {
  return describeCommand({
    usage: "preview <recipe>",
    summary: "show samples with what is trained on, counts and what is cut or left out",
    arguments: { recipe: "the recipe's file" },
    options: [
      ["--rows <count>", "rows to show", "3"],
      ["--json", "as JSON"],
    ],
    examples: [
      ["tunesmith data preview recipe.yaml", "the first rows"],
      ["tunesmith data preview recipe.yaml --data.packing true", "how rows are packed"],
    ],
    takesOverrides: true,
  }).action(async (file: string, { rows, json }: Options) => {
    const { previewRecipeData } = await import("../../recipe/data.ts");
    const preview = await previewRecipeData(file, { overrides, rows: Number(rows) || 3 });
    if (json) {
      console.out(`${JSON.stringify(preview)}\n`);
      return;
    }
    const facts = formatTable(preview.facts.map(({ name, value }) => [name, value]));
    const colors = console.outColors;
    console.out(`${facts}\n${showPreviewRows(preview.rows, colors)}${previewLegend(colors)}`);
  });
}
