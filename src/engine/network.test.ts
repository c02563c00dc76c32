// What must not matter (packing, padding, micro-batches, memory mode, chunks of the head) does not,
// and what must (labels, dropout) does.

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRandom } from "../runtime/random.ts";
import { randomFloats } from "../runtime/testing/evaluate.ts";
import type { Batch } from "./batch.ts";
import type { EngineModel } from "./load.ts";
import { createNetwork } from "./network.ts";
import {
  batchOf,
  type Differentiated,
  differentiate,
  largestDifference,
  openTiny,
  randomRows,
  VOCABULARY,
} from "./testing/tiny-models.ts";

/** Far above rounding in float32, far below any real difference. */
const SAME = 2e-5;

const [FIRST, SECOND] = randomRows([7, 5]) as [number[], number[]];
const PADDING = 3;
const repeated = (value: number, count: number): number[] => Array(count).fill(value);
const counting = (length: number): number[] => Array.from({ length }, (_, i) => i);

let full: EngineModel;
let apart: Differentiated;
beforeAll(async () => {
  full = await openTiny("untied-head", { method: { name: "full" } });
  apart = await differentiate(full, [batchOf([FIRST]), batchOf([SECOND])]);
});
afterAll(() => full.dispose());

const expectSame = (a: Differentiated, b: Differentiated) =>
  expect(largestDifference(a, b)).toBeLessThan(SAME);

describe("the same samples give the same loss and gradients", () => {
  it("packed into one row, positions starting over", async () => {
    const packed: Batch = {
      inputIds: [[...FIRST, ...SECOND, PADDING, PADDING]],
      labels: [[...FIRST, -100, ...SECOND.slice(1), -100, -100]],
      segmentIds: [[...repeated(1, 7), ...repeated(2, 5), 0, 0]],
      positionIds: [[...counting(7), ...counting(5), 0, 0]],
    };
    expectSame(await differentiate(full, [packed]), apart);
  });

  it("and not so when packed samples see each other", async () => {
    const leaking: Batch = {
      inputIds: [[...FIRST, ...SECOND]],
      labels: [[...FIRST, -100, ...SECOND.slice(1)]],
      positionIds: [[...counting(7), ...counting(5)]],
    };
    expect(largestDifference(await differentiate(full, [leaking]), apart)).toBeGreaterThan(1e-2);
  });

  it("padded on the right, with or without a mask", async () => {
    const inputIds = [[...FIRST], [...SECOND, PADDING, PADDING]];
    const labels = [[...FIRST], [...SECOND, -100, -100]];
    const attentionMask = [repeated(1, 7), [...repeated(1, 5), 0, 0]];
    expectSame(await differentiate(full, [{ inputIds, labels, attentionMask }]), apart);
    expectSame(await differentiate(full, [{ inputIds, labels }]), apart);
  });

  it("padded on the left", async () => {
    const inputIds = [[...FIRST], [PADDING, PADDING, ...SECOND]];
    const labels = [[...FIRST], [-100, -100, -100, ...SECOND.slice(1)]];
    const attentionMask = [repeated(1, 7), [0, 0, ...repeated(1, 5)]];
    // Rotary embeddings see distances only, so where a row starts makes no difference.
    expectSame(await differentiate(full, [{ inputIds, labels, attentionMask }]), apart);
  });

  it("beside rows without labels", async () => {
    const [silent] = randomRows([7], 9) as [number[]];
    const inputIds = [FIRST, silent, [...SECOND, PADDING, PADDING]];
    const labels = [FIRST, repeated(-100, 7), [...SECOND, -100, -100]];
    expectSame(await differentiate(full, [{ inputIds, labels }]), apart);
  });

  it("as one batch, or as micro-batches that accumulate", async () => {
    const rows = randomRows([6, 6, 6, 6], 4);
    const whole = await differentiate(full, [batchOf(rows)]);
    const halves = [batchOf(rows.slice(0, 2)), batchOf(rows.slice(2))];
    expectSame(await differentiate(full, halves), whole);
  });

  it("with everything recomputed", async () => {
    const lean = await openTiny("untied-head", { method: { name: "full" }, memory: "lean" });
    expectSame(await differentiate(lean, [batchOf([FIRST]), batchOf([SECOND])]), apart);
    await lean.dispose();
  });

  it.each([
    ["a head of its own", "untied-head", { name: "full" }],
    ["a tied head", "base", { name: "full" }],
    [
      "a head with an adapter",
      "base",
      { name: "lora", init: false, targets: ["lm_head", "o_proj"] },
    ],
    ["a head with trained rows", "base", { name: "lora", trainableTokens: [5, 60] }],
  ] as const)("in several chunks of the head: %s", async (_name, tiny, method) => {
    const model = await openTiny(tiny, { method });
    // More targets than the smallest chunk holds.
    const batch = batchOf(randomRows([90, 90], 5));
    const chunked = createNetwork({
      ...model,
      parameters: model.parameterSet,
      memory: "fast",
      logitBytes: 1,
    });
    const whole = await differentiate(model, [batch]);
    expectSame(await differentiate({ ...model, ...chunked }, [batch]), whole);
    expect((await chunked.evaluateLoss(batch)).lossSum).toBeCloseTo(whole.lossSum, 2);
    await model.dispose();
  });
});

describe("a batch in which nothing is trained on", () => {
  it("has no loss, no tokens and no gradient", async () => {
    for (const { gradient } of full.parameters) gradient.fill(0);
    const batch = { inputIds: [FIRST], labels: [[FIRST[0]!, ...repeated(-100, 6)]] };
    const result = await full.accumulateGradients(batch, { scale: 1 });
    expect(result).toEqual({ lossSum: 0, tokenCount: 0 });
    expect(full.parameters.every(({ gradient }) => gradient.every((value) => value === 0))).toBe(
      true,
    );
  });
});

describe("dropout", () => {
  const method = {
    name: "lora",
    rank: 4,
    init: false,
    dropout: 0.3,
    targets: ".*_proj|lm_head",
  } as const;
  const batch = batchOf(randomRows([8, 8], 6));
  let model: EngineModel;
  beforeAll(async () => {
    model = await openTiny("base", { method });
  });
  afterAll(() => model.dispose());

  it("is fixed by the seed", async () => {
    const once = await differentiate(model, [batch], { seed: 5 });
    const again = await differentiate(model, [batch], { seed: 5 });
    const other = await differentiate(model, [batch], { seed: 6 });
    expect(again).toEqual(once);
    expect(largestDifference(other, once)).toBeGreaterThan(1e-3);
  });

  it("is the same for whatever is recomputed", async () => {
    const lean = await openTiny("base", { method, memory: "lean" });
    const kept = await differentiate(model, [batch], { seed: 5 });
    expectSame(await differentiate(lean, [batch], { seed: 5 }), kept);
    await lean.dispose();
  });

  it("is off in evaluation", async () => {
    const without = await openTiny("base", { method: { ...method, dropout: 0 } });
    expect(await model.evaluateLoss(batch)).toEqual(await without.evaluateLoss(batch));
    await without.dispose();
  });

  it("is part of the gradient: finite differences under one seed agree", async () => {
    const random = createRandom(8);
    const { gradients } = await differentiate(model, [batch], { seed: 5, scale: 1 });
    const start = model.parameters.map(({ data }) => data.slice());
    const direction = model.parameters.map(({ data }) => randomFloats(random, data.length));
    const lossAt = async (step: number) => {
      model.parameters.forEach(({ data }, i) => {
        for (let j = 0; j < data.length; j++) data[j] = start[i]![j]! + step * direction[i]![j]!;
      });
      return (await differentiate(model, [batch], { seed: 5 })).lossSum;
    };
    const h = 2e-3;
    const near = (await lossAt(h)) - (await lossAt(-h));
    const far = (await lossAt(2 * h)) - (await lossAt(-2 * h));
    await lossAt(0);
    const difference = (8 * near - far) / (12 * h);
    const along = [...gradients.values()].reduce(
      (total, gradient, i) =>
        total + gradient.reduce((sum, value, j) => sum + value * direction[i]![j]!, 0),
      0,
    );
    expect(Math.abs(along - difference) / Math.abs(difference)).toBeLessThan(1e-2);
  });
});

describe("a batch that cannot be read", () => {
  it.each([
    ["an id beyond the vocabulary", { inputIds: [[1, VOCABULARY]] }, "between 0 and 96"],
    ["a fractional id", { inputIds: [[1, 2.5]] }, "saw: 2.5"],
    ["a label beyond the vocabulary", { inputIds: [[1, 2]], labels: [[1, 97]] }, "batch: labels"],
    ["rows of unequal length", { inputIds: [[1, 2], [1]] }, "row 1 with 1"],
    [
      "too few rows",
      {
        inputIds: [
          [1, 2],
          [1, 2],
        ],
        attentionMask: [[1, 1]],
      },
      "1 rows",
    ],
    ["nothing", { inputIds: [] }, "at least one row"],
  ])("is refused: %s", async (_name, batch, message) => {
    await expect(full.forward(batch)).rejects.toThrow(message);
    await expect(full.accumulateGradients(batch, { scale: 1 })).rejects.toThrow(message);
  });
});
