import { describe, expect, it } from "vitest";
import { TunesmithError } from "../errors.ts";
import { type Origin, withPlaces } from "./origins.ts";

const origins = new Map<string, Origin>([
  ["method.targets", { kind: "recipe", detail: "mine.yaml:3:9" }],
  ["method.adapters", { kind: "recipe", detail: "mine.yaml:4:9" }],
  ["method.init", { kind: "flag", detail: "--method.init" }],
  ["method.rank", { kind: "default", detail: "" }],
]);

const wherePlaced = (where: string) => {
  const error = new TunesmithError("config", { where, rule: "a", seen: "b", fix: "c" });
  return (withPlaces(error, origins) as TunesmithError).faults[0]!.where;
};

describe("faults that a recipe and its model have together", () => {
  it.each([
    ["method.targets", "mine.yaml:3:9 method.targets"],
    ["method.adapters.1 (runs/b)", "mine.yaml:4:9 method.adapters.1 (runs/b)"],
    ["method.init", "--method.init"],
    ["method.rank", "method.rank"],
    ["model/config.json: rope_theta", "model/config.json: rope_theta"],
  ])("%s is told as %s", (where, placed) => expect(wherePlaced(where)).toBe(placed));

  it("are all that is changed", () => {
    const other = new RangeError("not a user's");
    expect(withPlaces(other, origins)).toBe(other);
    const fault = { where: "method.targets", rule: "a", seen: "b", fix: "c" };
    const cause = new Error("cause");
    const placed = withPlaces(new TunesmithError("config", fault, { cause }), origins);
    expect(placed).toMatchObject({
      code: "config",
      cause,
      faults: [{ ...fault, where: "mine.yaml:3:9 method.targets" }],
    });
  });
});
