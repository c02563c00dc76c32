import { describe, expect, it } from "vitest";
import { TunesmithError } from "../errors.ts";
import { createRandom, xoshiro128 } from "./random.ts";

const take = <T>(count: number, next: () => T) => Array.from({ length: count }, next);

describe("the generator", () => {
  it("is xoshiro128**: the values of its authors' C code for the state 1, 2, 3, 4", () => {
    expect(take(8, xoshiro128([1, 2, 3, 4]))).toEqual([
      11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849,
    ]);
  });

  it("gives the stored values for ever (a change here changes every user's runs)", () => {
    expect(take(4, createRandom(42).nextUint32)).toEqual([
      3625918290, 2588801062, 2515582605, 588331069,
    ]);
    const random = createRandom(42);
    take(4, random.nextUint32);
    expect(take(3, random.uniform)).toEqual([
      0.7394870326603858, 0.020518884771792978, 0.7096290913224073,
    ]);
    expect(take(3, random.normal)).toEqual([
      0.19616910238277693, -0.303075152905235, 0.10729465362548829,
    ]);
    expect(random.shuffle([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])).toEqual([3, 2, 6, 7, 1, 8, 9, 5, 4, 0]);
    const fork = createRandom(42).fork("shuffle").fork(3);
    expect([fork.nextUint32(), fork.normal()]).toEqual([3619757275, -1.0066470408531454]);
    expect(createRandom([1n, -5, 7]).nextUint32()).toBe(1827179737);
  });
});

describe("seeds", () => {
  it("takes a number and the same bigint as one seed, and a list as another", () => {
    const first = (seed: Parameters<typeof createRandom>[0]) => createRandom(seed).nextUint32();
    expect(first(7)).toBe(first(7n));
    expect(first([7])).toBe(first(7));
    const different = [7, 8, -7, [7, 0], [0, 7], [7, 7], 7 * 2 ** 32, 0, []].map(first);
    expect(new Set(different).size).toBe(different.length);
  });

  it("refuses what is not an integer", () => {
    for (const seed of [0.5, Number.NaN, 2 ** 60, 2n ** 64n])
      expect(() => createRandom(seed)).toThrow(TunesmithError);
  });

  it("forks by label, whatever was drawn before", () => {
    const random = createRandom(1);
    const before = random.fork("a").nextUint32();
    take(10, random.nextUint32);
    expect(random.fork("a").nextUint32()).toBe(before);
    expect(random.fork("b").nextUint32()).not.toBe(before);
    expect(random.fork("a").fork("a").nextUint32()).not.toBe(before);
  });
});

describe("distributions", () => {
  it("uniform has the moments of [0, 1)", () => {
    const draws = take(100_000, createRandom(3).uniform);
    expect(draws.every((x) => x >= 0 && x < 1)).toBe(true);
    expect(mean(draws)).toBeCloseTo(0.5, 2);
    expect(mean(draws.map((x) => x * x))).toBeCloseTo(1 / 3, 2);
  });

  it("normal has moments 0, 1, 0, 3, and each draw is that of Math.log to 1e-14", () => {
    const draws = take(200_000, createRandom(4).normal);
    expect(Math.abs(mean(draws))).toBeLessThan(0.01);
    expect(Math.abs(mean(draws.map((x) => x ** 2)) - 1)).toBeLessThan(0.02);
    expect(Math.abs(mean(draws.map((x) => x ** 3)))).toBeLessThan(0.05);
    expect(Math.abs(mean(draws.map((x) => x ** 4)) - 3)).toBeLessThan(0.1);

    const random = createRandom(5);
    const again = createRandom(5);
    for (let i = 0; i < 1000; i++) {
      let x: number;
      let square: number;
      do {
        x = 2 * again.uniform() - 1;
        square = x * x + (2 * again.uniform() - 1) ** 2;
      } while (square >= 1 || square === 0);
      const expected = x * Math.sqrt((-2 * Math.log(square)) / square);
      expect(Math.abs(random.normal() / expected - 1)).toBeLessThan(1e-14);
    }
  });

  it("below is unbiased and within its bound", () => {
    const counts = new Array<number>(5).fill(0);
    const random = createRandom(6);
    for (let i = 0; i < 50_000; i++) counts[random.below(5)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(400);
    expect(() => random.below(0)).toThrow(RangeError);
  });

  it("shuffle reaches every order equally often", () => {
    const counts = new Map<string, number>();
    const random = createRandom(8);
    for (let i = 0; i < 12_000; i++) {
      const order = random.shuffle(["a", "b", "c"]).join("");
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(6);
    for (const count of counts.values()) expect(Math.abs(count - 2000)).toBeLessThan(200);
  });
});

function mean(values: number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
