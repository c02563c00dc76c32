// `npm run docs`: writes into docs/ what the recipe's schema and the table of methods say, for people and
// for editors.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../src/hub/index.ts";
import { recipeJsonSchema } from "../src/recipe/keys.ts";
import { recipeReference } from "../src/recipe/reference.ts";
import { betweenMarkers } from "./between-markers.ts";
import { methodTable } from "./method-table.ts";

const docs = join(import.meta.dirname, "..", "docs");
await writeFileAtomically(join(docs, "recipe-reference.md"), recipeReference());
await writeFileAtomically(
  join(docs, "recipe.schema.json"),
  `${JSON.stringify(recipeJsonSchema(), null, 2)}\n`,
);

const methods = join(docs, "methods.md");
const page = betweenMarkers(await readFile(methods, "utf8"), "methods", await methodTable());
await writeFileAtomically(methods, page);
