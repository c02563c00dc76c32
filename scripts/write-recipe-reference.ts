// `npm run docs`: writes what the recipe's schema says into docs/, for people and for editors.

import { join } from "node:path";
import { writeFileAtomically } from "../src/hub/index.ts";
import { recipeJsonSchema } from "../src/recipe/keys.ts";
import { recipeReference } from "../src/recipe/reference.ts";

const docs = join(import.meta.dirname, "..", "docs");
await writeFileAtomically(join(docs, "recipe-reference.md"), recipeReference());
await writeFileAtomically(
  join(docs, "recipe.schema.json"),
  `${JSON.stringify(recipeJsonSchema(), null, 2)}\n`,
);
