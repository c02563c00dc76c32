// Quantised matrices against those of bitsandbytes (tests/parity/reference/quantization_cases.py).

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrayDifference } from "../../runtime/testing/array-difference.ts";
import { openSafetensors, type SafetensorsFile } from "../safetensors/safetensors.ts";
import { readFloat32 } from "../safetensors/safetensors-float32.ts";
import { casePath, readCase } from "../testing/cases.ts";
import { findQuantized, quantizedTensors, readQuantized } from "./bitsandbytes.ts";
import { nestScales } from "./double-quantization.ts";
import {
  bytesOf,
  dequantize,
  type MadeTensor,
  type QuantizationOptions,
  quantize,
  quantizedBytes,
} from "./quantization.ts";

const NAME = "layer.weight";
const cases = Object.entries(
  readCase<Record<string, QuantizationOptions>>("quantization", "cases.json"),
);

describe.each(cases)("%s", (name, options) => {
  let file: SafetensorsFile;
  let stored: MadeTensor;
  let original: Float32Array;
  let shape: readonly number[];
  let expected: Float32Array;
  const floatsOf = async (key: string) => {
    const size = file.tensors.get(key)!.shape.reduce((product, length) => product * length, 1);
    const target = new Float32Array(size);
    await readFloat32(file, key, target);
    return target;
  };
  beforeAll(async () => {
    file = await openSafetensors(casePath("quantization", `${name}.safetensors`));
    const files = new Map([...file.tensors.keys()].map((key) => [key, file]));
    const found = await findQuantized(files);
    expect([...found.keys()]).toEqual([NAME]);
    stored = await readQuantized(files, NAME, found.get(NAME)!);
    ({ shape } = file.tensors.get("original")!);
    original = await floatsOf("original");
    expected = await floatsOf("dequantized");
  });
  afterAll(() => file.close());

  it("is read, and stands for the same numbers bit for bit", () => {
    expect({ type: stored.type, shape: stored.shape }).toEqual({ type: options.type, shape });
    const numbers = new Float32Array(expected.length);
    dequantize(stored, numbers);
    expect(numbers).toEqual(expected);
  });

  it("is made from the same matrix with the same bytes", () => {
    const own = quantize(original, shape, options);
    if (!("blockSize" in stored) || stored.scales instanceof Float32Array) {
      expect(own).toEqual(stored);
      return;
    }
    // torch's mean, the offset, differs in its last bit from machine to machine; given that, nothing does.
    const { scales: exact } = quantize(original, shape, { ...options, doubleQuantization: false });
    const scales = nestScales(exact as Float32Array, stored.scales.offset);
    expect({ ...own, scales }).toEqual(stored);
    const numbers = new Float32Array(expected.length);
    dequantize(own, numbers);
    expect(arrayDifference(numbers, expected)).toBeLessThan(1e-6);
  });

  it("is written as it was", async () => {
    const written = quantizedTensors(NAME, stored, "F32");
    const expectedKeys = [...file.tensors.keys()].filter((key) => key.startsWith("layer."));
    expect(written.map((tensor) => tensor.name).sort()).toEqual(expectedKeys.sort());
    for (const { name: key, dtype, shape: size, data } of written) {
      const bytes = new Uint8Array(file.tensors.get(key)!.byteLength);
      await file.readInto(key, bytes);
      const { buffer, byteOffset, byteLength } = data as Uint8Array;
      const own = new Uint8Array(buffer, byteOffset, byteLength);
      if (key.includes("quant_state")) {
        const parse = (json: Uint8Array) => JSON.parse(new TextDecoder().decode(json));
        expect(parse(own)).toEqual(parse(bytes)); // spaces differ
        continue;
      }
      expect(own, key).toEqual(bytes);
      const { dtype: theirs, shape: theirSize } = file.tensors.get(key)!;
      expect({ dtype, size }, key).toEqual({ dtype: theirs, size: theirSize });
    }
  });

  it("takes as many bytes as is said beforehand", () => {
    expect(bytesOf(stored)).toBe(quantizedBytes(shape, options));
  });
});

it("a linear weight takes at most 0.6 bytes a number in 4 bits", () => {
  const share = (options: QuantizationOptions) =>
    quantizedBytes([1536, 576], options) / (1536 * 576);
  expect(share({ type: "nf4" })).toBeLessThan(0.52);
  expect(share({ type: "fp4", doubleQuantization: false })).toBeLessThan(0.6);
  expect(share({ type: "int8" })).toBeLessThan(1.01);
});

it.each([{ type: "nf4" }, { type: "fp4", doubleQuantization: false }, { type: "int8" }] as const)(
  "$type keeps zeros, and the largest magnitude of a block nearly",
  (options) => {
    const data = new Float32Array(192);
    data.set([0.5, -2, 1, 2], 64);
    const numbers = new Float32Array(192);
    dequantize(quantize(data, [3, 64], options), numbers);
    expect([...numbers.subarray(0, 64)].every((value) => Math.abs(value) < 1e-6)).toBe(true);
    expect(Math.abs(numbers[65]! + 2)).toBeLessThan(0.02);
    expect(Math.abs(numbers[67]! - 2)).toBeLessThan(0.02);
  },
);
