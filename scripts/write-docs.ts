// `npm run docs`: writes into docs/ what the recipe's schema and the tables of methods and models say, for
// people and for editors.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../src/hub/index.ts";
import { recipeJsonSchema } from "../src/recipe/keys.ts";
import { recipeReference } from "../src/recipe/reference.ts";
import { betweenMarkers } from "./between-markers.ts";
import { methodTable } from "./method-table.ts";
import { modelTables } from "./model-table.ts";
import { scaleTables } from "./scale-table.ts";

const docs = join(import.meta.dirname, "..", "docs");
await writeFileAtomically(join(docs, "recipe-reference.md"), recipeReference());
await writeFileAtomically(
  join(docs, "recipe.schema.json"),
  `${JSON.stringify(recipeJsonSchema(), null, 2)}\n`,
);

const parts = [
  ["methods.md", "methods", await methodTable()],
  ["models-and-files.md", "models", modelTables()],
  ["models-and-files.md", "scale", await scaleTables()],
] as const;
for (const [page, name, text] of parts) {
  const path = join(docs, page);
  await writeFileAtomically(path, betweenMarkers(await readFile(path, "utf8"), name, text));
}
