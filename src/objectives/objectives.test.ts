// Labels read and found, verdicts told, and agreement counted; the latter against scikit-learn's numbers.

import { describe, expect, it } from "vitest";
import type { TunesmithError } from "../errors.ts";
import type { Classifier } from "../models/index.ts";
import {
  countAgreement,
  createLabelReader,
  describeLabel,
  findLabels,
  verdictOf,
} from "./index.ts";

const SINGLE: Classifier = {
  labels: ["good", "bad", "none"],
  problem: "single_label_classification",
};
const SEVERAL: Classifier = { ...SINGLE, problem: "multi_label_classification" };
const VALUES: Classifier = { labels: ["x", "y"], problem: "regression" };

async function* placed(...values: unknown[]) {
  for (const [index, value] of values.entries()) yield { value, where: `a.jsonl:${index + 1}` };
}

/** The only fault that `work` ends with. */
async function faultOf(work: () => unknown) {
  try {
    await work();
  } catch (error) {
    return (error as TunesmithError).faults[0]!;
  }
  throw new Error("no fault");
}

describe("labels in data", () => {
  it("are put in an order that the file's does not matter to", async () => {
    expect(await findLabels(placed("b", "a", "b", true))).toEqual(["a", "b", "true"]);
    expect(await findLabels(placed(10, 9, "-1", 10))).toEqual(["-1", "9", "10"]);
    expect(await findLabels(placed(["b", "c"], [], ["a"]))).toEqual(["a", "b", "c"]);
  });

  it("are at least two, names, and not values", async () => {
    expect(await faultOf(() => findLabels(placed("a", "a")))).toMatchObject({
      where: "a.jsonl:2",
      seen: '"a"',
    });
    expect(await faultOf(() => findLabels(placed("a", { b: 1 })))).toMatchObject({
      where: "a.jsonl:2",
      seen: '{"b":1}',
    });
    const many = Array.from({ length: 1001 }, (_, index) => index / 7);
    expect((await faultOf(() => findLabels(placed(...many)))).fix).toContain("regression");
  });
});

describe("a record's label", () => {
  const read = (classifier: Classifier, value: unknown) =>
    createLabelReader(classifier)(value, "a.jsonl:7");

  it.each<[Classifier, unknown, number[]]>([
    [SINGLE, "bad", [1]],
    [SINGLE, 2, [2]],
    [SINGLE, "2", [2]],
    [{ ...SINGLE, labels: ["1", "0"] }, 1, [0]],
    [SEVERAL, ["none", "good"], [1, 0, 1]],
    [SEVERAL, [], [0, 0, 0]],
    [SEVERAL, "bad", [0, 1, 0]],
    [VALUES, [0.5, "-2"], [0.5, -2]],
    [{ ...VALUES, labels: ["score"] }, 3, [3]],
  ])("%j reads %j as %j", (classifier, value, numbers) => {
    expect(read(classifier, value)).toEqual(numbers);
  });

  it.each<[Classifier, unknown, string]>([
    [SINGLE, "god", 'did you mean "good"?'],
    [SINGLE, 3, "objective.labels"],
    [SINGLE, ["good"], "the label's name"],
    [SEVERAL, ["good", "bda"], 'did you mean "bad"?'],
    [VALUES, [1], "correct it"],
    [VALUES, ["", 1], "correct it"],
  ])("%j refuses %j, with file and line", async (classifier, value, fix) => {
    const fault = await faultOf(() => read(classifier, value));
    expect(fault.where).toBe("a.jsonl:7");
    expect(fault.fix).toContain(fix);
  });

  it("is told in words", () => {
    expect(describeLabel(SINGLE, [2])).toBe("none");
    expect(describeLabel(SEVERAL, [1, 1, 0])).toBe("good, bad");
    expect(describeLabel(VALUES, [0.5, 2])).toBe("0.5, 2");
  });
});

describe("a verdict", () => {
  it("has probabilities that add up to 1, of logits of any size", () => {
    const { labels, scores } = verdictOf(SINGLE, [1000, 1001, 1000]);
    expect(labels).toEqual(["bad"]);
    expect(scores.bad).toBeCloseTo(Math.E / (Math.E + 2), 12);
    expect(Object.values(scores).reduce((sum, x) => sum + x, 0)).toBeCloseTo(1, 12);
  });

  it("has every label that is more probable than not, or values as they are", () => {
    expect(verdictOf(SEVERAL, [0.1, -0.1, 2])).toMatchObject({ labels: ["good", "none"] });
    expect(verdictOf(SEVERAL, [0, 0, 0]).scores.good).toBe(0.5);
    expect(verdictOf(VALUES, [-3, 7])).toEqual({ labels: [], scores: { x: -3, y: 7 } });
  });
});

describe("agreement", () => {
  it("is counted over batches as scikit-learn counts it", () => {
    // y_true [0, 1, 2, 2, 0, 1], y_pred [0, 2, 2, 0, 0, 1]: F1 0.8, 2/3, 0.5.
    const count = countAgreement(SINGLE)!;
    const oneHot = (...labels: number[]) =>
      Float32Array.from(labels.flatMap((label) => [0, 1, 2].map((i) => (i === label ? 1 : 0))));
    count.add(oneHot(0, 2, 2), [[0], [1], [2]]);
    count.add(oneHot(0, 0, 1), [[2], [0], [1]]);
    expect(count.result().accuracy).toBeCloseTo(4 / 6, 12);
    expect(count.result().macroF1).toBeCloseTo((0.8 + 2 / 3 + 0.5) / 3, 12);
  });

  it("needs all labels of a text to be right where there may be several", () => {
    const count = countAgreement(SEVERAL)!;
    count.add(Float32Array.of(1, -1, 1, 1, -1, -1), [
      [1, 0, 1],
      [1, 1, 0],
    ]);
    expect(count.result()).toEqual({ accuracy: 0.5, macroF1: (1 + 0 + 1) / 3 });
  });

  it("is not asked of values", () => {
    expect(countAgreement(VALUES)).toBeUndefined();
  });
});
