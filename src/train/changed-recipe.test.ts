import { expect, it } from "vitest";
import { changedRecipe } from "./changed-recipe.ts";

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
