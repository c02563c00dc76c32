import { describe, expect, it } from "vitest";
import { readerFor } from "./config-reader.ts";
import { rotaryTables } from "./rope.ts";
import { readRope } from "./rope-config.ts";

const HEAD_SIZE = 16;
const CONTEXT = 4096;
const tables = (json: Record<string, unknown>, length: number) =>
  rotaryTables(readRope(readerFor(json), HEAD_SIZE, CONTEXT), length);

// transformers 5.23, ROPE_INIT_FUNCTIONS with theta 10000: frequencies and attention factor.
const REFERENCE = [
  {
    name: "linear",
    section: { factor: 4 },
    frequencies: [
      0.25, 0.079056941, 0.025, 0.0079056947, 0.0024999999, 0.00079056947, 0.00025000001,
      7.9056947e-5,
    ],
  },
  {
    name: "dynamic",
    section: { factor: 2 },
    length: 8192,
    frequencies: [
      1, 0.27029613, 0.073059998, 0.019747833, 0.0053377626, 0.0014427766, 0.00038997692,
      0.00010540926,
    ],
  },
  {
    name: "llama3",
    section: {
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 1024,
    },
    frequencies: [
      1, 0.31622776, 0.1, 0.031622779, 0.0030867606, 0.00039528473, 0.00012500001, 3.9528473e-5,
    ],
  },
  {
    name: "yarn",
    section: { factor: 4, original_max_position_embeddings: 1024 },
    frequencies: [
      1, 0.31622776, 0.081250004, 0.019764237, 0.004375, 0.00079056947, 0.00025000001, 7.9056947e-5,
    ],
    amplitude: 1.138629436111989,
  },
  {
    name: "yarn with its options",
    section: {
      factor: 4,
      original_max_position_embeddings: 1024,
      beta_fast: 2,
      beta_slow: 1,
      attention_factor: 1.5,
      truncate: false,
    },
    frequencies: [
      1, 0.31622776, 0.1, 0.031622779, 0.0077848588, 0.00079056947, 0.00025000001, 7.9056947e-5,
    ],
    amplitude: 1.5,
  },
  {
    name: "yarn with DeepSeek's scales",
    section: {
      factor: 4,
      original_max_position_embeddings: 1024,
      mscale: 0.7,
      mscale_all_dim: 1.1,
    },
    frequencies: [
      1, 0.31622776, 0.081250004, 0.019764237, 0.004375, 0.00079056947, 0.00025000001, 7.9056947e-5,
    ],
    amplitude: 0.9518853439550599,
  },
];

describe("rotary tables are those of transformers", () => {
  it.each(REFERENCE)("$name", ({ name, section, frequencies, amplitude = 1, length = 2 }) => {
    const type = name.split(" ")[0];
    const { cosines, sines } = tables({ rope_scaling: { rope_type: type, ...section } }, length);
    frequencies.forEach((expected, i) => {
      // Position 1: the angle is the frequency itself.
      const [cosine, sine] = [cosines[HEAD_SIZE / 2 + i]!, sines[HEAD_SIZE / 2 + i]!];
      expect(Math.abs(Math.atan2(sine, cosine) / expected - 1)).toBeLessThan(1e-5);
      expect(Math.hypot(cosine, sine)).toBeCloseTo(amplitude, 5);
    });
  });

  it.each([
    [2, [1, 0.090909094, 0.0076923077, 0.0005]],
    [2000, [0.66666669, 0.033333335, 0.0014285714, 5e-5]],
  ])("longrope on half of a head, for texts of %i positions", (length, frequencies) => {
    const json = {
      original_max_position_embeddings: 1024,
      rope_scaling: {
        type: "longrope",
        short_factor: [1, 1.1, 1.3, 2],
        long_factor: [1.5, 3, 7, 20],
      },
      partial_rotary_factor: 0.5,
    };
    const rope = readRope(readerFor(json), HEAD_SIZE, CONTEXT, { share: 1 });
    const { cosines, sines } = rotaryTables(rope, length);
    frequencies.forEach((expected, i) => {
      const [cosine, sine] = [cosines[4 + i]!, sines[4 + i]!];
      expect(Math.abs(Math.atan2(sine, cosine) / expected - 1)).toBeLessThan(1e-5);
      expect(Math.hypot(cosine, sine)).toBeCloseTo(1.0954451150103321, 5);
    });
    expect(cosines).toHaveLength(4 * length);
  });

  it("dynamic scaling leaves sequences of the trained length alone", () => {
    const scaled = tables({ rope_scaling: { rope_type: "dynamic", factor: 2 } }, 8);
    expect(scaled).toEqual(tables({}, 8));
  });

  it.each([
    ["rope_parameters", { rope_parameters: { rope_type: "linear", factor: 2, rope_theta: 5e5 } }],
    ["the older `type`", { rope_scaling: { type: "linear", factor: 2 }, rope_theta: 5e5 }],
  ])("the same from %s", (_name, json) => {
    const written = { rope_scaling: { rope_type: "linear", factor: 2 }, rope_theta: 5e5 };
    expect(tables(json, 4)).toEqual(tables(written, 4));
  });

  it("position 0 is not turned", () => {
    const { cosines, sines } = tables({}, 1);
    expect([...cosines]).toEqual(Array(HEAD_SIZE / 2).fill(1));
    expect([...sines]).toEqual(Array(HEAD_SIZE / 2).fill(0));
  });
});
