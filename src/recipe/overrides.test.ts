// Override flags: any key of the schema, values as in the file, misspelt ones told.

import { expect, it } from "vitest";
import { applyOverrides, splitOverrides } from "./overrides.ts";

it("takes override flags out of a command line and leaves the rest", () => {
  const { rest, overrides, faults } = splitOverrides([
    "recipe.yaml",
    "--json",
    "--train.epochs",
    "2",
    "--method.targets=[q_proj, v_proj]",
    "--data.packing",
    "true",
  ]);
  expect(rest).toEqual(["recipe.yaml", "--json"]);
  expect(faults).toEqual([]);
  expect(overrides.map(({ path, value }) => [path.join("."), value])).toEqual([
    ["train.epochs", 2],
    ["method.targets", ["q_proj", "v_proj"]],
    ["data.packing", true],
  ]);
});

it("sets an entry of a map, whose name may have dots", () => {
  const { overrides } = splitOverrides(["--method.rankPattern.layers.0.q_proj", "16"]);
  expect(applyOverrides({ method: "lora" }, overrides)).toEqual({
    method: { name: "lora", rankPattern: { "layers.0.q_proj": 16 } },
  });
});

it("tells a misspelt key and a missing value", () => {
  const { faults } = splitOverrides(["--train.epocs", "2", "--train.seed"]);
  expect(faults.map(({ where, fix }) => `${where}: ${fix}`)).toEqual([
    "--train.epocs: write --train.epochs",
    "--train.seed: write --train.seed VALUE",
  ]);
});
