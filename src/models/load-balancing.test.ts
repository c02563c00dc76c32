import { describe, expect, it } from "vitest";
import { loadBalance, weightedSum } from "./load-balancing.ts";

const slope = (of: (values: Float32Array) => number, at: Float32Array, i: number, step: number) => {
  const moved = (by: number) => at.map((value, j) => (i === j ? value + by : value));
  return (of(moved(step)) - of(moved(-step))) / (2 * step);
};

describe("load balance", () => {
  it("is the number of choices where tokens and probabilities are spread evenly", () => {
    const even = { counts: Float32Array.of(6, 6, 6), probabilities: Float32Array.of(3, 3, 3) };
    expect(loadBalance([even], 2).loss).toBeCloseTo(2, 6);
  });

  it("counts the tokens of all layers together", () => {
    // One expert has every token of a layer, another those of the next: together that is even.
    const layer = (first: number, second: number) => ({
      counts: Float32Array.of(first, second),
      probabilities: Float32Array.of(first, second),
    });
    expect(loadBalance([layer(4, 0)], 1).loss).toBeCloseTo(2, 6);
    expect(loadBalance([layer(4, 0), layer(0, 4)], 1).loss).toBeCloseTo(1, 6);
  });

  it("has the slope of the loss as its gradient, in every layer", () => {
    const counts = Float32Array.of(5, 2, 1);
    const other = { counts: Float32Array.of(2, 3, 3), probabilities: Float32Array.of(2, 1, 5) };
    const at = Float32Array.of(3, 4, 1);
    const of = (probabilities: Float32Array) =>
      loadBalance([{ counts, probabilities }, other], 1).loss;
    const { gradient } = loadBalance([{ counts, probabilities: at }, other], 1);
    for (let i = 0; i < 3; i++) expect(gradient[i]).toBeCloseTo(slope(of, at, i, 0.25), 5);
  });
});

it("a weighted sum weighs losses and gradients alike", () => {
  const part = { loss: 3, gradient: Float32Array.of(1, 2) };
  const { loss, gradients } = weightedSum(
    [
      ["a", part],
      ["b", part],
    ],
    0.5,
  );
  expect(loss).toBe(3);
  expect([...gradients.get("b")!]).toEqual([0.5, 1]);
});
