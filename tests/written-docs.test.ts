// The pages that are written from the code say what the code says now.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { betweenMarkers } from "../scripts/between-markers.ts";
import { methodTable } from "../scripts/method-table.ts";
import { modelTables } from "../scripts/model-table.ts";
import { scaleTables } from "../scripts/scale-table.ts";
import { supportedModelTypes } from "../src/models/index.ts";
import { recipeJsonSchema } from "../src/recipe/keys.ts";
import { recipeReference } from "../src/recipe/reference.ts";

const read = (name: string) => readFile(join(import.meta.dirname, "..", "docs", name), "utf8");

it("the table of methods is up to date (npm run docs)", async () => {
  const page = await read("methods.md");
  expect(page).toBe(betweenMarkers(page, "methods", await methodTable()));
});

it("the tables of models are up to date (npm run docs), and no model is left undescribed", async () => {
  const page = await read("models-and-files.md");
  expect(page).toBe(betweenMarkers(page, "models", modelTables()));
  expect(page).toBe(betweenMarkers(page, "scale", await scaleTables()));
  const described = page.split("| `model_type` | what it has beside the others |")[1]!;
  for (const type of supportedModelTypes)
    expect(described).toMatch(new RegExp(`^\\|.*\`${type}\`.*\\|`, "m"));
});

it("the recipe's reference is up to date (npm run docs)", async () => {
  expect(await read("recipe-reference.md")).toBe(recipeReference());
  expect(JSON.parse(await read("recipe.schema.json"))).toEqual(recipeJsonSchema());
});
