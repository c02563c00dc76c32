// Options without effect are refused, wherever they are written, and files of adapters may hold them.

import { describe, expect, it } from "vitest";
import { openModel } from "../engine/load.ts";
import { tinyModelFolder } from "../engine/testing/tiny-models.ts";
import { idleOptions, type MethodOptions, methodDefinition, methodNames } from "./registry.ts";

const IDLE: readonly MethodOptions[] = [
  { name: "lora", evaRho: 1 },
  { name: "dora", init: true, evaWhiten: true },
  { name: "qlora", init: "mica", learningRateRatio: 4 },
  { name: "moe-lora", routing: "dense", topK: 3 },
  { name: "moe-lora", routing: "dense", routerDeviation: 0.1 },
  { name: "adalora", rankPattern: {}, interval: 2 },
  { name: "adapter", invertibleReductionFactor: 4 },
  { name: "adapter", preset: "compacter", phm: false, phmDimension: 2 },
  { name: "adapter", phmBias: false },
  { name: "adapter", preset: "compacter", phmFactorizedWeights: false, phmRank: 2 },
  { name: "adapter-fusion", adapters: ["a"], preset: "static", regularization: 0.1 },
  { name: "unipelt", preset: "mam", union: [{ kind: "lora" }] },
  { name: "oft", cayleyNeumann: false, neumannTerms: 3 },
  { name: "miss", miniRank: 2 },
];
const USEFUL: readonly MethodOptions[] = [
  { name: "lora", init: "eva", evaRho: 1 },
  { name: "dora", init: "mica", learningRateRatio: 4 },
  { name: "moe-lora", topK: 3, routerDeviation: 0.1 },
  { name: "moe-lora", routing: "dense", topK: 2 },
  { name: "adalora", interval: 2 },
  { name: "adapter", preset: "seq_bn_inv", invertibleReductionFactor: 4 },
  { name: "adapter", preset: "compacter++", phmDimension: 2, phmRank: 2 },
  { name: "oft", neumannTerms: 3 },
  { name: "miss", variant: "mini", miniRank: 2 },
];

describe("an option that another makes meaningless", () => {
  it.each(IDLE)("%o", (options) => {
    const faults = idleOptions(options);
    expect(faults).toHaveLength(1);
    const { option, fix } = faults[0]!;
    expect(options).toHaveProperty(option);
    expect(fix).toContain(`leave ${option} out`);
  });

  it("is tried above for every method that has some", () => {
    const withSome = methodNames.filter((name) => methodDefinition(name).idle);
    expect([...new Set(IDLE.map(({ name }) => name))].sort()).toEqual(withSome.sort());
  });
});

it.each(USEFUL)("is none of those: %o", (options) => {
  expect(idleOptions(options)).toEqual([]);
});

it("is told of the parts of a union too, each with its place", () => {
  const faults = idleOptions({
    name: "unipelt",
    union: [
      { kind: "prefix", flat: true, encoderSize: 8, sharedGate: false },
      { kind: "adapter", preset: "compacter", phmRank: 2 },
      { kind: "adapter", phmBias: false },
      { kind: "lora", gated: true, alpha: 4 },
    ],
  });
  expect(faults.map(({ option, fix }) => [option, fix])).toEqual([
    ["union.0.encoderSize", "set flat: false, or leave encoderSize out"],
    ["union.0.sharedGate", "set gated: true, or leave sharedGate out"],
    ["union.2.phmBias", "set phm: true, or leave phmBias out"],
    ["union.3.alpha", "set gated: false, or leave alpha out"],
  ]);
});

it("is refused when a model is opened, with all the others", async () => {
  const method = { name: "moe-lora", routing: "dense", topK: 3, routerDeviation: 0.1 } as const;
  await expect(openModel(tinyModelFolder("base"), { method })).rejects.toThrow(
    /method\.topK: goes with routing: top-k[\s\S]*method\.routerDeviation/,
  );
});
