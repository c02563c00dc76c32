// Losses beside the objective's: a method's and the architecture's are each of what it reported itself.

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { MethodOptions } from "../methods/index.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import type { EngineModel } from "./load.ts";
import { batch } from "./testing/contract-batches.ts";
import { slopeError } from "./testing/contract-checks.ts";
import { openTiny, type TinyModel } from "./testing/tiny-models.ts";

const FUSED = join(
  import.meta.dirname,
  "../../tests/parity/cases/adapterhub/fusion-static/adapter",
);
const FUSION = {
  name: "adapter-fusion" as const,
  adapters: ["alpha", "beta"].map((name) => join(FUSED, name)),
};
const ADALORA = {
  name: "adalora" as const,
  initialRank: 3,
  targetRank: 2,
  targets: ["q_proj", "v_proj"],
};

/** A model whose trained tensors have moved, so that no loss of theirs is 0. */
async function moved<T>(
  tiny: TinyModel,
  method: MethodOptions,
  use: (model: EngineModel, added: number) => T,
): Promise<Awaited<T>> {
  const model = await openTiny(tiny, { method, seed: 7 });
  for (const { data } of model.parameters)
    for (let i = 0; i < data.length; i++) data[i]! += 0.05 * Math.sin(1 + 3.7 * i);
  const { auxiliaryLoss = 0 } = await model.accumulateGradients(batch, { scale: 1 });
  const result = await use(model, auxiliaryLoss);
  await model.dispose();
  return result;
}
const addedLoss = (tiny: TinyModel, method: MethodOptions) =>
  moved(tiny, method, (_, added) => added);

const CASES: readonly [name: string, method: MethodOptions, withoutLoss: MethodOptions][] = [
  ["AdaLoRA", { ...ADALORA, orthogonality: 0.5 }, { ...ADALORA, orthogonality: 0 }],
  ["AdapterFusion", { ...FUSION, regularization: 0.3 }, { ...FUSION, regularization: 0 }],
];

describe.each(CASES)("%s beside the balance of routers", (_, method, withoutLoss) => {
  it("adds what it adds without it", async () => {
    const own = await addedLoss("mixtral", method);
    const balance = await addedLoss("mixtral-balanced", withoutLoss);
    expect(balance).toBeGreaterThan(0.5);
    expect(await addedLoss("mixtral-balanced", method)).toBeCloseTo(own + balance, 5);
  });

  it("has the gradient of both", () =>
    moved("mixtral-balanced", method, async (model) => {
      expect(await slopeError(model, batch)).toBeLessThan(0.01);
    }));
});

it("AdaLoRA's loss has its gradient on the output matrix, which runs on labelled rows alone", async () => {
  const method = { ...ADALORA, targets: ["lm_head", "q_proj"], orthogonality: 2 };
  const without = await addedLoss("base", { ...method, targets: ["q_proj"] });
  await moved("base", method, async (model, added) => {
    expect(Math.abs(added - without)).toBeGreaterThan(0.01);
    expect(await slopeError(model, batch)).toBeLessThan(0.01);
  });
});

/** V − I at each place of a fusion, by V's name. */
const excesses = ({ parameters }: EngineModel) =>
  new Map(
    parameters
      .filter(({ name }) => name.endsWith(".value.weight"))
      .map(({ name, data, shape: [width] }) => [
        name,
        data.map((value, i) => value - (i % (width! + 1) === 0 ? 1 : 0)),
      ]),
  );

const gradients = ({ parameters }: EngineModel) =>
  new Map(parameters.map(({ name, gradient }) => [name, gradient.slice()]));

describe.each(["base", "mixtral", "qwen2-moe-mixed"] as const)("AdapterFusion on %s", (tiny) => {
  const method: MethodOptions = { ...FUSION, regularization: 0.3 };

  it("adds the distance of every V from the identity", () =>
    moved(tiny, method, (model, added) => {
      const all = [...excesses(model).values()].flatMap((excess) => [...excess]);
      expect(all.length).toBeGreaterThan(0);
      expect(added).toBeCloseTo(0.3 * all.reduce((sum, value) => sum + value * value, 0), 4);
    }));

  it("pulls every V towards it", async () => {
    const without = await moved(tiny, { ...method, regularization: 0 }, gradients);
    await moved(tiny, method, (model) => {
      for (const [name, excess] of excesses(model)) {
        const rest = without.get(name)!;
        const wanted = rest.map((value, i) => value + 0.6 * excess[i]!);
        expect(arrayDifference(gradients(model).get(name)!, wanted), name).toBeLessThan(1e-5);
      }
    });
  });
});
