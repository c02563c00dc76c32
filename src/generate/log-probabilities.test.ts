import { describe, expect, it } from "vitest";
import { logProbabilityOf } from "./log-probabilities.ts";

const logits = Float32Array.of(1, 3, -2, 3, 0.5);

describe("log-probabilities", () => {
  it("are those of the softmax", () => {
    const sum = [...logits].reduce((total, logit) => total + Math.exp(logit), 0);
    const { tokenId, logProbability } = logProbabilityOf(logits, 4, 0);
    expect(tokenId).toBe(4);
    expect(logProbability).toBeCloseTo(0.5 - Math.log(sum), 6);
  });

  it("tell the likeliest tokens, likeliest first, the lower id of equal ones", () => {
    const { top } = logProbabilityOf(logits, 2, 3);
    expect(top.map(({ tokenId }) => tokenId)).toEqual([1, 3, 0]);
    expect(top[0]!.logProbability).toBe(top[1]!.logProbability);
  });

  it("tell none or all where so many are asked for", () => {
    expect(logProbabilityOf(logits, 0, 0).top).toEqual([]);
    const { top } = logProbabilityOf(logits, 0, 9);
    expect(top.map(({ tokenId }) => tokenId)).toEqual([1, 3, 0, 4, 2]);
    const total = top.reduce((sum, one) => sum + Math.exp(one.logProbability), 0);
    expect(total).toBeCloseTo(1, 6);
  });

  it("do not overflow", () => {
    const { logProbability } = logProbabilityOf(Float32Array.of(5000, 5000), 0, 0);
    expect(logProbability).toBeCloseTo(-Math.log(2), 6);
  });
});
