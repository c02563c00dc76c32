// The pages that are written from the code say what the code says now.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { betweenMarkers } from "../scripts/between-markers.ts";
import { methodTable } from "../scripts/method-table.ts";
import { recipeJsonSchema } from "../src/recipe/keys.ts";
import { recipeReference } from "../src/recipe/reference.ts";

const read = (name: string) => readFile(join(import.meta.dirname, "..", "docs", name), "utf8");

it("the table of methods is up to date (npm run docs)", async () => {
  const page = await read("methods.md");
  expect(page).toBe(betweenMarkers(page, "methods", await methodTable()));
});

it("the recipe's reference is up to date (npm run docs)", async () => {
  expect(await read("recipe-reference.md")).toBe(recipeReference());
  expect(JSON.parse(await read("recipe.schema.json"))).toEqual(recipeJsonSchema());
});
