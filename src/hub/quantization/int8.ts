// 8-bit weights as LLM.int8() stores them (Dettmers et al. 2022): each row of a matrix scaled by its
// largest magnitude to whole numbers from -127 to 127. Only the weights: activations stay as they are.

import { decodeHalf, encodeHalf } from "../half.ts";

/** Adding and subtracting it rounds a float32 below 2^22 to a whole number, halves to the even one. */
const ROUNDER = 12582912;

/** @param data a matrix [rows, width]; rounded to float16 first, as the reference does */
export function quantizeInt8(
  data: Float32Array,
  width: number,
): { values: Int8Array; scales: Float32Array } {
  const values = new Int8Array(data.length);
  const scales = new Float32Array(data.length / width);
  const bits = new Uint16Array(width);
  const row = new Float32Array(width);
  for (let index = 0; index < scales.length; index++) {
    const start = index * width;
    encodeHalf(data.subarray(start, start + width), "F16", bits);
    decodeHalf(bits, "F16", row);
    const largest = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    scales[index] = largest;
    if (largest === 0) continue;
    const factor = Math.fround(127 / largest);
    for (let i = 0; i < width; i++)
      values[start + i] = Math.fround(Math.fround(row[i]! * factor) + ROUNDER) - ROUNDER;
  }
  return { values, scales };
}
