// Keys by the variants that a recipe chose: faults must speak of the method that was named.

import { describe, expect, it } from "vitest";
import { describeIssues } from "./faults.ts";
import { keyAt, namesAt } from "./keys-at.ts";
import { recipeSchema } from "./schema.ts";

const recipe = (method: unknown) => ({
  model: { path: "m" },
  data: { train: "train.jsonl" },
  method,
});

function faultOf(method: unknown) {
  const data = recipe(method);
  const result = recipeSchema.safeParse(data);
  const faults = describeIssues(result.error?.issues ?? [], data, (path) => path.join("."));
  expect(faults).toHaveLength(1);
  return faults[0]!;
}

describe("keys of one name in several methods", () => {
  it("have the default of the method that was named", () => {
    expect(keyAt(["method", "rank"], recipe({ name: "vera" }))?.default).toBe(256);
    expect(keyAt(["method", "rank"], recipe({ name: "lora" }))?.default).toBe(8);
    expect(keyAt(["method", "rank"], recipe({}))).toBeUndefined();
    expect(faultOf({ name: "vera", rank: 0 }).fix).toMatch(/its default is 256$/);
  });

  it("have the values of the method that was named", () => {
    const { rule } = faultOf({ name: "lokr", init: "pissa" });
    expect(rule).toBe('method.init must be true or false or "lycoris"');
  });

  it("are described by the method that was named", () => {
    const { rule, fix } = faultOf({ name: "adapter-fusion", adapters: ["one"] });
    expect(rule).toBe("method.adapters must be at least 2 items long");
    expect(fix).not.toContain("LoRA");
  });
});

describe("keys of parts", () => {
  it("are those of the part's kind", () => {
    const union = [{ kind: "prefix" }, { kind: "lora", ranc: 4 }];
    expect(namesAt(["method", "union", 1], recipe({ name: "unipelt", union }))).toContain("rank");
    const { seen, fix } = faultOf({ name: "unipelt", union });
    expect([seen, fix]).toEqual(['"ranc"; nearest is "rank"', 'write "rank"']);
    expect(faultOf({ name: "unipelt", union: [{ kind: "lora", rank: 0 }] }).fix).toMatch(
      /its default is 8$/,
    );
  });

  it("of lists and maps are described with these", () => {
    const { fix } = faultOf({ name: "lora", layersToTransform: [-1] });
    expect(fix).toBe("Only these layer numbers, from 0; left out it is all layers");
  });
});

describe("what is no section", () => {
  it("is told what a section is", () =>
    expect(faultOf(5).rule).toBe("method must be a map of keys"));

  it("of one item is told so", () =>
    expect(faultOf({ name: "lora", targets: [] }).rule).toBe(
      "method.targets must be at least 1 item long",
    ));

  it("is a name that no method has", () => expect(faultOf({ name: "xyzzy" }).fix).toMatch(/lora/));
});
