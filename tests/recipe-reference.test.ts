// The written reference of the recipe is what the schema says now.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { recipeJsonSchema } from "../src/recipe/keys.ts";
import { recipeReference } from "../src/recipe/reference.ts";

const read = (name: string) => readFile(join(import.meta.dirname, "..", "docs", name), "utf8");

it("is up to date (npm run docs)", async () => {
  expect(await read("recipe-reference.md")).toBe(recipeReference());
  expect(JSON.parse(await read("recipe.schema.json"))).toEqual(recipeJsonSchema());
});
