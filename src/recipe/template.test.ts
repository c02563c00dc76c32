// The recipe that `init` writes is valid as it stands, and the defaults it shows are the real ones.

import { expect, it } from "vitest";
import { parse } from "yaml";
import { valueAt } from "./faults.ts";
import { recipeKeys } from "./keys.ts";
import { recipeSchema } from "./schema.ts";
import { recipeTemplate } from "./template.ts";

const open = (text: string) => {
  const data = parse(text);
  if (typeof data.model === "string") data.model = { path: data.model };
  if (typeof data.objective === "string") data.objective = { name: data.objective };
  return data;
};

it("is a valid recipe", () => {
  const { model, data, method } = recipeSchema.parse(
    open(recipeTemplate({ model: "./my-model", data: "my.jsonl" })),
  );
  expect(model.path).toBe("./my-model");
  expect(data).toMatchObject({ train: "my.jsonl", eval: 0.1 });
  expect(method).toMatchObject({ name: "lora", rank: 8 });
});

it("shows every key with --all, and each commented value is the default", () => {
  const all = recipeTemplate({ all: true });
  const uncommented = all
    .split("\n")
    .filter((line) => !/left out:/.test(line))
    .map((line) => line.replace(/^( *)# ([a-z][A-Za-z]*:( .+)?)$/, "$1$2"))
    .join("\n");
  const plain = recipeSchema.parse(open(all));
  expect(recipeSchema.parse(open(uncommented))).toEqual(plain);
  for (const { path, variant } of recipeKeys())
    if ((variant ?? "lora") === "lora")
      expect(all, path).toMatch(new RegExp(`^ *(# )?${path.split(".").at(-1)}:`, "m"));
  expect(valueAt(plain, ["train", "seed"])).toBe(0);
});
