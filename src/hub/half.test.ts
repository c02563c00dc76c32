import { describe, expect, it } from "vitest";
import { decodeHalf, encodeHalf, type HalfKind } from "./half.ts";

const everyPattern = Uint16Array.from({ length: 0x10000 }, (_, bits) => bits);

function decode(bits: number[], kind: HalfKind): number[] {
  const target = new Float32Array(bits.length);
  decodeHalf(Uint16Array.from(bits), kind, target);
  return [...target];
}

function encode(values: number[], kind: HalfKind): number[] {
  const target = new Uint16Array(values.length);
  encodeHalf(Float32Array.from(values), kind, target);
  return [...target];
}

describe("float16", () => {
  it("decodes the values that IEEE 754 gives as examples", () => {
    expect(decode([0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001, 0x3555], "F16")).toEqual([
      1,
      -2,
      65504,
      2 ** -14,
      2 ** -24,
      0.333251953125,
    ]);
    expect(decode([0x7c00, 0xfc00, 0x7e00], "F16")).toEqual([
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      Number.NaN,
    ]);
    expect(Object.is(decode([0x8000], "F16")[0], -0)).toBe(true);
  });

  it("rounds to nearest, ties to even, between all neighbours", () => {
    for (let bits = 0; bits < 0x7bff; bits++) {
      const [low, high] = decode([bits, bits + 1], "F16") as [number, number];
      const middle = (low + high) / 2;
      const even = bits % 2 === 0 ? bits : bits + 1;
      const nearby = encode([middle * (1 - 2 ** -20), middle, middle * (1 + 2 ** -20)], "F16");
      if (nearby[0] !== bits || nearby[1] !== even || nearby[2] !== bits + 1)
        expect.unreachable(`between ${bits} and ${bits + 1}: ${nearby}`);
    }
  });

  it("becomes infinite beyond the range and zero below it", () => {
    expect(encode([65519, 65520, 1e30, 2 ** -25, 2 ** -25 * 1.001, -1e-30], "F16")).toEqual([
      0x7bff, 0x7c00, 0x7c00, 0, 1, 0x8000,
    ]);
  });
});

describe("bfloat16", () => {
  it("rounds to nearest, ties to even", () => {
    expect(encode([1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20], "BF16")).toEqual([
      0x3f80, 0x3f80, 0x3f82, 0x3f81,
    ]);
    expect(encode([3.4e38, Number.NEGATIVE_INFINITY], "BF16")).toEqual([0x7f80, 0xff80]);
  });
});

describe.each<HalfKind>(["F16", "BF16"])("%s", (kind) => {
  it("comes back from every bit pattern; NaN stays NaN", () => {
    const values = new Float32Array(0x10000);
    decodeHalf(everyPattern, kind, values);
    const back = new Uint16Array(0x10000);
    encodeHalf(values, kind, back);
    for (let bits = 0; bits < 0x10000; bits++) {
      if (Number.isNaN(values[bits])) expect(decode([back[bits]!], kind)[0]).toBeNaN();
      else if (back[bits] !== bits) expect.unreachable(`${bits} came back as ${back[bits]}`);
    }
  });

  it("refuses a target that is too small", () => {
    expect(() => decodeHalf(new Uint16Array(3), kind, new Float32Array(2))).toThrow(RangeError);
    expect(() => encodeHalf(new Float32Array(3), kind, new Uint16Array(2))).toThrow(RangeError);
  });
});
