// The tables of docs/models-and-files.md that follow from the code: which architectures there are, in which
// files each comes, and the types of numbers in every format.

import { supportedModels } from "../src/recipe/supported-models.ts";

/** What `tunesmith models` shows, for the page. */
export function modelTables(): string {
  const { architectures, formats } = supportedModels();
  const code = (text: string) => `\`${text}\``;
  return [
    table(
      ["`model_type`", "models", "GGUF"],
      architectures.map(({ modelType, covers, gguf }) => [code(modelType), covers, gguf]),
    ),
    table(
      ["numbers", "types"],
      formats.map(({ what, types }) => [what, types.join(", ")]),
    ),
  ].join("\n\n");
}

/** Rows of a page's table. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  return [header, header.map(() => "---"), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`)
    .join("\n");
}
