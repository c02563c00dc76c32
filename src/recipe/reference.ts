// The documentation of every recipe key as Markdown, written from the schema.

import { type RecipeKey, recipeSections } from "./keys.ts";

/** The text of docs/recipe-reference.md. */
export function recipeReference(): string {
  const sections = recipeSections().map(
    ({ name, description, keys }) =>
      `## ${name}\n\n${description}\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n` +
      keys.map(row).join(""),
  );
  return (
    "# Recipe reference\n\n" +
    "Every key of a recipe. Each can be given as a flag as well: `--train.epochs 2`. This page is\n" +
    "written from the schema by `npm run docs`; `recipe.schema.json` beside it is for editors.\n\n" +
    "A section that needs one value only may be written as that value: `model: ./folder`,\n" +
    "`data: train.jsonl`, `method: lora`, `objective: sft`.\n\n" +
    sections.join("\n")
  );
}

function row(key: RecipeKey): string {
  const { path, type, description, variant } = key;
  const only = variant === undefined || path.endsWith(".name") ? "" : ` (${variant} only)`;
  const cells = [`\`${path}\``, code(type), fallback(key), `${description}${only}`];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
}

function fallback({ required, default: value, derived, path }: RecipeKey): string {
  if (derived !== undefined) return derived;
  if (value !== undefined) return code(JSON.stringify(value));
  return required || path.endsWith(".name") ? "needed" : "none";
}

function code(text: string): string {
  return `\`${text}\``;
}
