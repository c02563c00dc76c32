import { describe, expect, it } from "vitest";
import { variation } from "./variation.ts";

const slope = (of: (values: Float32Array) => number, at: Float32Array, i: number, step: number) => {
  const moved = (by: number) => at.map((value, j) => (i === j ? value + by : value));
  return (of(moved(step)) - of(moved(-step))) / (2 * step);
};

describe("variation", () => {
  it("is the unbiased variance by the square of the mean", () => {
    expect(variation(Float32Array.of(1, 3)).loss).toBeCloseTo(2 / 4, 6);
    expect(variation(Float32Array.of(2, 2, 2)).loss).toBe(0);
  });

  it("has the slope of the loss as its gradient", () => {
    const at = Float32Array.of(1, 4, 2, 3);
    const { gradient } = variation(at);
    for (let i = 0; i < 4; i++)
      expect(gradient[i]).toBeCloseTo(
        slope((x) => variation(x).loss, at, i, 2 ** -8),
        4,
      );
  });

  it("of a single number is nothing", () => {
    expect(variation(Float32Array.of(7))).toEqual({ loss: 0, gradient: new Float32Array(1) });
  });
});
