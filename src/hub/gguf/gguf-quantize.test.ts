// What ggml's own quantiser made of the same numbers (tests/parity/make-ggml-cases.py).

import { describe, expect, it } from "vitest";
import { readCase } from "../testing/cases.ts";
import { DEQUANTIZERS } from "./gguf-dequantize.ts";
import { QUANTIZERS, type WrittenType } from "./gguf-quantize.ts";

const stored = readCase<{
  columns: number;
  float32: string;
  types: Record<WrittenType, string>;
}>("ggml/quantize.json");
const bytesOf = (text: string) => Uint8Array.from(Buffer.from(text, "base64"));
const data = new Float32Array(bytesOf(stored.float32).buffer);

/** The squared error of each row. */
function errors(type: WrittenType, bytes: Uint8Array): number[] {
  const values = new Float32Array(data.length);
  DEQUANTIZERS[type](bytes, values);
  return Array.from({ length: data.length / stored.columns }, (_, row) => {
    const at = (i: number) => row * stored.columns + i;
    let sum = 0;
    for (let i = 0; i < stored.columns; i++) sum += (values[at(i)]! - data[at(i)]!) ** 2;
    return sum;
  });
}

const types = Object.entries(stored.types) as [WrittenType, string][];

describe.each(types)("%s", (type, text) => {
  const theirs = bytesOf(text);
  const ours = QUANTIZERS[type](data);

  if (type === "Q8_0" || type === "Q5_0")
    it("gives ggml's bytes", () => {
      expect(ours).toEqual(theirs);
    });
  else
    it("gives nearly all of ggml's bytes, and no larger errors", () => {
      expect(ours.length).toBe(theirs.length);
      // Sums are in double precision here, so that the best of near-equal scales may be another one; where
      // a row is constant, or as small as 1e-20, several blocks stand for the same numbers.
      const rowBytes = ours.length / (data.length / stored.columns);
      const weights = ours.subarray(0, 11 * rowBytes);
      const other = weights.filter((byte, i) => byte !== theirs[i]).length;
      expect(other / weights.length).toBeLessThan(0.05);
      const [mine, reference] = [errors(type, ours), errors(type, theirs)];
      const total = (sums: readonly number[]) => sums.reduce((a, b) => a + b, 0);
      expect(total(mine)).toBeLessThan(1.002 * total(reference));
      mine.forEach((error, row) => {
        expect(error, `row ${row}`).toBeLessThanOrEqual(1.05 * reference[row]! + 1e-12);
      });
    });
});

it("keeps float32 bit for bit and rounds halves as PyTorch does", () => {
  for (const type of ["F32", "F16", "BF16"] as const) {
    const back = new Float32Array(data.length);
    DEQUANTIZERS[type](QUANTIZERS[type](data), back);
    const step = { F32: 0, F16: 2 ** -11, BF16: 2 ** -8 }[type];
    for (let i = 0; i < data.length; i++)
      expect(Math.abs(back[i]! - data[i]!)).toBeLessThanOrEqual(
        step * Math.abs(data[i]!) + (type === "F16" ? 2 ** -25 : 0),
      );
  }
});
