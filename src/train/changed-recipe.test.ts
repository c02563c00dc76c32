import { expect, it } from "vitest";
import { changedMethod, changedRecipe } from "./changed-recipe.ts";

const before =
  "model: { id: a }\ndata: { train: x }\ntrain: { batchSize: 8, seed: 1 }\noutput: o\n";

it("names what changes the losses and is no setting of the loop", () => {
  const now =
    "model: { id: a }\ndata: { train: y, eval: 0.1 }\ntrain: { batchSize: 4, seed: 2 }\noutput: p\n";
  expect(changedRecipe(before, now)).toEqual([
    'data.train: "x" -> "y"',
    "train.batchSize: 8 -> 4",
    "data.eval: none -> 0.1",
  ]);
  expect(
    changedRecipe(
      "model: { id: a }\nmethod: { name: lora, rank: 8 }",
      "model: { id: b }\nmethod: { name: lora, rank: 4 }",
    ),
  ).toEqual(['model.id: "a" -> "b"', "method.rank: 8 -> 4"]);
  expect(changedRecipe(undefined, now)).toEqual([]);
  expect(changedRecipe("a: [", now)).toEqual(["recipe.yaml: cannot be compared"]);
});

it("tells what of it is the method's: the name alone where that is another", () => {
  const told = (was: string, is: string) =>
    changedMethod(changedRecipe(`data: a\nmethod: { ${was} }`, `data: b\nmethod: { ${is} }`));
  expect(told("name: lora, rank: 8", "name: ia3")).toBe(
    'the run has method "lora", the recipe "ia3"',
  );
  expect(told("name: lora, rank: 8", "name: lora, rank: 4")).toBe(
    "the recipe was changed: method.rank: 8 -> 4",
  );
  expect(told("name: ia3", "name: ia3")).toBe("");
});
