// What virtual tokens and prefixes do to a batch, on whichever side it is padded, packed or alone.

import { describe, expect, it } from "vitest";
import type { MethodOptions } from "../methods/index.ts";
import { arrayDifference } from "../runtime/testing/array-difference.ts";
import type { Batch } from "./batch.ts";
import {
  batchOf,
  differentiate,
  largestDifference,
  openTiny,
  randomRows,
} from "./testing/tiny-models.ts";
import {
  putVirtualStates,
  takeVirtualGradients,
  VIRTUAL_SEGMENT,
  withoutVirtualTokens,
  withVirtualTokens,
} from "./virtual-tokens.ts";

const METHODS: readonly MethodOptions[] = [
  { name: "prompt", virtualTokens: 3 },
  { name: "prefix", virtualTokens: 3, projection: true, encoderSize: 5 },
];

const [long, short] = randomRows([9, 5], 8) as [number[], number[]];
const gap = long.length - short.length;
const padding = (value: number) => new Array<number>(gap).fill(value);
const paddedLeft: Batch = {
  inputIds: [long, [...padding(0), ...short]],
  labels: [long, [...padding(-100), -100, ...short.slice(1)]],
  attentionMask: [long.map(() => 1), [...padding(0), ...short.map(() => 1)]],
  positionIds: [[...long.keys()], [...padding(0), ...short.keys()]],
};
const packed: Batch = {
  inputIds: [[...long, ...short]],
  labels: [[...long, -100, ...short.slice(1)]],
  segmentIds: [[...long.map(() => 1), ...short.map(() => 2)]],
  positionIds: [[...long.keys(), ...short.keys()]],
};

describe.each(METHODS)("$name", (method) => {
  it("gives a sample the same logits and gradients alone, padded on the left and packed", async () => {
    const model = await openTiny("base", { method });
    const logits = async (batch: Batch) => (await model.forward(batch)).logits.data;
    const each = [await logits({ inputIds: [long] }), await logits({ inputIds: [short] })];
    const alone = [...each[0]!, ...each[1]!];
    const left = [...(await logits(paddedLeft))];
    const [width, begin] = [each[0]!.length / long.length, each[0]!.length];
    left.splice(begin, gap * width);
    expect(arrayDifference(left, alone)).toBeLessThan(1e-5);
    expect(arrayDifference(await logits({ ...packed, labels: undefined }), alone)).toBeLessThan(
      1e-5,
    );

    const gradients = await differentiate(model, [batchOf([long]), batchOf([short])]);
    for (const batch of [paddedLeft, packed])
      expect(largestDifference(await differentiate(model, [batch]), gradients)).toBeLessThan(1e-4);
    await model.dispose();
  });

  it("is the same over several blocks of queries as over one", async () => {
    const model = await openTiny("base", { method });
    const [first, second] = randomRows([150, 130], 4) as [number[], number[]];
    const together: Batch = {
      inputIds: [[...first, ...second]],
      labels: [[...first, -100, ...second.slice(1)]],
      segmentIds: [[...first.map(() => 1), ...second.map(() => 2)]],
      positionIds: [[...first.keys(), ...second.keys()]],
    };
    const alone = await differentiate(model, [batchOf([first]), batchOf([second])]);
    expect(largestDifference(await differentiate(model, [together]), alone)).toBeLessThan(1e-4);
    await model.dispose();
  });

  it("changes what the base computes, and takes the loss over the same tokens", async () => {
    const [base, model] = [await openTiny("base"), await openTiny("base", { method })];
    const batch = batchOf([long]);
    const [before, after] = [await base.evaluateLoss(batch), await model.evaluateLoss(batch)];
    expect(after.tokenCount).toBe(before.tokenCount);
    expect(Math.abs(after.lossSum - before.lossSum)).toBeGreaterThan(0.01);
    const other = { inputIds: [long], labels: [[0, ...long.slice(1)]] };
    expect((await model.evaluateLoss(other)).lossSum).toBe(after.lossSum);
    for (const each of [base, model]) await each.dispose();
  });
});

describe("an LSTM's dropout", () => {
  it("is on in training alone, and another for another seed", async () => {
    const method = {
      name: "p-tuning",
      virtualTokens: 3,
      encoder: "lstm",
      encoderSize: 6,
      encoderDropout: 0.5,
    } as const;
    const model = await openTiny("base", { method });
    const lossAt = async (seed: number) =>
      (await differentiate(model, [batchOf([long])], { seed })).lossSum;
    expect(await lossAt(1)).toBe(await lossAt(1));
    expect(await lossAt(2)).not.toBe(await lossAt(1));
    const evaluated = (await model.evaluateLoss(batchOf([long]))).lossSum;
    expect((await model.evaluateLoss(batchOf([long]))).lossSum).toBe(evaluated);
    expect(await lossAt(1)).not.toBe(evaluated);
    await model.dispose();
  });
});

describe("room for virtual tokens", () => {
  it("is made in every part of a batch", () => {
    const batch: Batch = {
      inputIds: [[7, 8]],
      labels: [[7, 8]],
      attentionMask: [[1, 0]],
      positionIds: [[0, 5]],
      segmentIds: [[1, 2]],
    };
    expect(withVirtualTokens(batch, 0)).toBe(batch);
    expect(withVirtualTokens(batch, 2)).toEqual({
      inputIds: [[0, 0, 7, 8]],
      labels: [[-100, -100, -100, 8]],
      attentionMask: [[1, 1, 1, 0]],
      positionIds: [[0, 1, 2, 7]],
      segmentIds: [[VIRTUAL_SEGMENT, VIRTUAL_SEGMENT, 1, 2]],
    });
    expect(withVirtualTokens({ inputIds: [[7]] }, 1)).toEqual({ inputIds: [[0, 7]] });
  });

  it("is filled with one prompt in every row, whose gradient is the sum over rows", () => {
    const x = Float32Array.of(0, 0, 1, 2, 0, 0, 3, 4); // two rows of two positions, width 2
    putVirtualStates(x, Float32Array.of(8, 9), 2, 4);
    expect([...x]).toEqual([8, 9, 1, 2, 8, 9, 3, 4]);
    const target = Float32Array.of(5, 5);
    takeVirtualGradients(x, target, 2, 4);
    expect([...target]).toEqual([16, 18]);
    expect([...x]).toEqual([0, 0, 1, 2, 0, 0, 3, 4]);
    expect([...withoutVirtualTokens(x, 2, 1, 1, 2)]).toEqual([1, 2, 3, 4]);
    expect(withoutVirtualTokens(x, 2, 0, 2, 2)).toBe(x);
  });
});
