// The recipe that `init` writes is valid as it stands, and the defaults it shows are the real ones.

import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { methodNames } from "../methods/index.ts";
import { valueAt } from "./document.ts";
import { recipeKeys } from "./keys.ts";
import { recipeSchema, SHORTHANDS } from "./schema.ts";
import { recipeTemplate } from "./template.ts";

const open = (text: string) => {
  const data = parse(text);
  for (const [section, key] of Object.entries(SHORTHANDS))
    if (typeof data[section] === "string") data[section] = { [key]: data[section] };
  return data;
};

/** The template with its commented defaults made keys. */
const uncommented = (text: string) =>
  text
    .split("\n")
    .filter((line) => !/left out:/.test(line))
    .map((line) => line.replace(/^( *)# ([a-z][A-Za-z]*:( .+)?)$/, "$1$2"))
    .join("\n");

it("is a valid recipe", () => {
  const { model, data, method } = recipeSchema.parse(
    open(recipeTemplate({ model: "./my-model", data: "my.jsonl" })),
  );
  expect(model.path).toBe("./my-model");
  expect(data).toMatchObject({ train: "my.jsonl", eval: 0.1 });
  expect(method).toMatchObject({ name: "lora", rank: 8 });
});

describe.each(methodNames)("for %s", (method) => {
  const keys = recipeKeys().filter(({ variant }) => (variant ?? method) === method);

  it("shows all of its keys, and those of other sections with --all", () => {
    const [own, all] = [recipeTemplate({ method }), recipeTemplate({ method, all: true })];
    for (const { path, section } of keys) {
      // A section that needs its name alone is written as one word.
      if (path.endsWith(".name")) continue;
      const key = new RegExp(`^ *(# )?${path.split(".").at(-1)}:`, "m");
      expect(all, path).toMatch(key);
      if (section === "method") expect(own, path).toMatch(key);
    }
  });

  it("is valid, and each commented value is the default", () => {
    const all = recipeTemplate({ method, all: true });
    const plain = recipeSchema.parse(open(all));
    expect(plain.method.name).toBe(method);
    expect(recipeSchema.parse(open(uncommented(all)))).toEqual(plain);
    expect(valueAt(plain, ["train", "seed"])).toBe(0);
  });
});

it("names the nearest method", () => {
  expect(() => recipeTemplate({ method: "lroa" })).toThrow('nearest is "lora"');
});
