// The documentation of every recipe key as Markdown, written from the schema.

import { type RecipeKey, recipeSections } from "./keys.ts";

type Section = ReturnType<typeof recipeSections>[number];

/** The text of docs/recipe-reference.md. */
export function recipeReference(): string {
  return (
    "# Recipe reference\n\n" +
    "Every key of a recipe. Each can be given as a flag as well: `--train.epochs 2`. This page is\n" +
    "written from the schema by `npm run docs`; `recipe.schema.json` beside it is for editors.\n\n" +
    "A section that needs one value only may be written as that value: `model: ./folder`,\n" +
    "`data: train.jsonl`, `method: lora`, `objective: sft`.\n\n" +
    recipeSections().map(sectionText).join("\n")
  );
}

/** The link to what is said of a section's variant, as from another page of the same folder. */
export function referenceOf(section: string, variant: string): string {
  return `recipe-reference.md#${section}-${variant}`;
}

function sectionText({ name, description, keys }: Section): string {
  const heading = `## ${name}\n\n${description}\n\n`;
  const variants = [...new Set(keys.flatMap(({ variant }) => variant ?? []))];
  if (variants.length === 0) return heading + table(keys);
  const words = `\`${name}.name\` is needed and says which; each has keys of its own.\n\n`;
  const parts = variants.map((variant) => variantText(name, variant, keys));
  return heading + words + parts.join("\n");
}

/** Its name is the heading, and what its name means the text below. */
function variantText(section: string, variant: string, keys: readonly RecipeKey[]): string {
  const own = keys.filter((key) => key.variant === variant);
  const isName = ({ path }: RecipeKey) => path === `${section}.name`;
  const meaning = own.find(isName)?.description ?? "";
  const rest = own.filter((key) => !isName(key));
  return `### ${section}: ${variant}\n\n${meaning}\n${rest.length > 0 ? `\n${table(rest)}` : ""}`;
}

function table(keys: readonly RecipeKey[]): string {
  return `| key | type | default | meaning |\n| --- | --- | --- | --- |\n${keys.map(row).join("")}`;
}

function row(key: RecipeKey): string {
  const { path, type, description } = key;
  const cells = [`\`${path}\``, code(type), fallback(key), description];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
}

function fallback({ required, default: value, derived }: RecipeKey): string {
  if (derived !== undefined) return derived;
  if (value !== undefined) return code(JSON.stringify(value));
  return required ? "needed" : "none";
}

function code(text: string): string {
  return `\`${text}\``;
}
