import { describe, expect, it } from "vitest";
import type { Example } from "./example.ts";
import { checkHoldOut, contentHash, holdOutBound } from "./split.ts";

const text = (content: string): Example => ({ kind: "text", text: content });
const hashes = Array.from({ length: 1000 }, (_, i) => contentHash(text(`example ${i}`)));
const heldOut = (amount: number, from = hashes) => {
  const bound = holdOutBound(from, amount);
  return from.filter((hash) => hash < bound).length;
};

describe("contentHash", () => {
  it("is the same for ever and spread evenly", () => {
    expect(contentHash(text("a"))).toBe(0.5258282228274496);
    expect(hashes.every((hash) => hash >= 0 && hash < 1)).toBe(true);
    const tenth = hashes.filter((hash) => hash < 0.1).length;
    expect(Math.abs(tenth - 100)).toBeLessThan(30);
  });

  it("sees through white space and nothing else", () => {
    expect(contentHash(text(" a  b\n"))).toBe(contentHash(text("a b")));
    expect(contentHash(text("a b"))).not.toBe(contentHash(text("ab")));
    expect(contentHash(text("a b"))).not.toBe(contentHash(text("A b")));
  });
});

describe("holdOutBound", () => {
  it("holds out the share or the number asked for", () => {
    expect(heldOut(0.1)).toBe(100);
    expect(heldOut(0.999)).toBe(999);
    expect(heldOut(0.0001)).toBe(1);
    expect(heldOut(37)).toBe(37);
    expect(heldOut(1)).toBe(1);
  });

  it("does not depend on the order, and grows by adding", () => {
    expect(holdOutBound([...hashes].reverse(), 0.1)).toBe(holdOutBound(hashes, 0.1));
    expect(holdOutBound(hashes, 0.2)).toBeGreaterThan(holdOutBound(hashes, 0.1));
  });

  it("keeps copies together, as near to the amount as they allow", () => {
    const copies = [0.1, 0.1, 0.1, 0.5, 0.6, 0.6];
    expect(heldOut(1, copies)).toBe(3);
    expect(heldOut(4, copies)).toBe(4);
    expect(heldOut(5, copies)).toBe(4);
  });

  it("refuses to leave a side empty", () => {
    for (const [from, amount] of [
      [[0.5], 0.1],
      [[0.5, 0.5], 1],
      [[0.1, 0.2], 2],
      [[0.1, 0.2], 7],
    ] as const)
      expect(() => holdOutBound(from, amount)).toThrow("at least one example");
  });
});

it("takes shares and whole numbers only", () => {
  for (const amount of [0.1, 1, 200]) expect(() => checkHoldOut(amount)).not.toThrow();
  for (const amount of [-0.1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => checkHoldOut(amount)).toThrow("data.eval");
});
