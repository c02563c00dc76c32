import { expect, it } from "vitest";
import { readCase } from "../testing/cases.ts";
import { DEQUANTIZERS } from "./gguf-dequantize.ts";
import { GGML_TYPES, type GgmlType } from "./gguf-types.ts";

interface Case {
  readonly type: GgmlType;
  readonly bytes: string;
  readonly float32: string;
}

const { cases } = readCase<{ cases: Case[] }>("gguf", "dequantize.json");

const decode = (text: string) => Uint8Array.from(Buffer.from(text, "base64"));

it("has a stored case for every type", () => {
  expect(cases.map(({ type }) => type).sort()).toEqual(Object.keys(GGML_TYPES).sort());
});

it.each(cases)("decodes $type to the values of the gguf package", ({ type, bytes, float32 }) => {
  const expected = new Float32Array(decode(float32).buffer);
  const actual = new Float32Array(expected.length);
  // At an odd place in memory, where a row of a larger read may well lie.
  const stored = decode(bytes);
  const shifted = new Uint8Array(stored.length + 1).subarray(1);
  shifted.set(stored);
  DEQUANTIZERS[type](shifted, actual);
  expect(actual).toEqual(expected);
});
