// Files of quantised weights that are not as they should be, and one that is in another way.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openSafetensors } from "../safetensors/safetensors.ts";
import { type TensorToWrite, writeSafetensors } from "../safetensors/safetensors-writer.ts";
import { findQuantized, quantizedTensors, readQuantized } from "./bitsandbytes.ts";
import { type MadeTensor, type QuantizationOptions, quantize } from "./quantization.ts";

const NAME = "layer.weight";
const data = Float32Array.from({ length: 6 * 64 }, (_, i) => Math.sin(i));
const tensorsOf = (options: QuantizationOptions) =>
  quantizedTensors(NAME, quantize(data, [6, 64], options), "F16");

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tunesmith-bitsandbytes-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function readBack(tensors: readonly TensorToWrite[]): Promise<MadeTensor> {
  const path = join(folder, "model.safetensors");
  await writeSafetensors(path, tensors);
  const file = await openSafetensors(path);
  try {
    const files = new Map([...file.tensors.keys()].map((name) => [name, file]));
    return await readQuantized(files, NAME, (await findQuantized(files)).get(NAME)!);
  } finally {
    await file.close();
  }
}

const changed = (
  tensors: readonly TensorToWrite[],
  key: string,
  change: (tensor: TensorToWrite) => TensorToWrite,
) => tensors.map((tensor) => (tensor.name === key ? change(tensor) : tensor));

const withState = (change: object) =>
  changed(tensorsOf({ type: "nf4" }), `${NAME}.quant_state.bitsandbytes__nf4`, (tensor) => {
    const state = JSON.parse(new TextDecoder().decode(tensor.data as Uint8Array));
    const bytes = new TextEncoder().encode(JSON.stringify({ ...state, ...change }));
    return { ...tensor, shape: [bytes.length], data: bytes };
  });

it("reads codes that were saved as 16-bit numbers, and the type before", async () => {
  const options = { type: "nf4" } as const;
  const asHalves = changed(tensorsOf(options), NAME, (tensor) => ({
    ...tensor,
    dtype: "BF16",
    shape: [96, 1],
  }));
  expect(await readBack(asHalves)).toEqual(quantize(data, [6, 64], options));
});

it.each<[string, readonly TensorToWrite[], RegExp]>([
  [
    "scales that are missing",
    tensorsOf({ type: "fp4" }).filter(({ name }) => !name.endsWith(".nested_absmax")),
    /has all its parts[\s\S]*no layer\.weight\.nested_absmax/,
  ],
  ["too few codes", withState({ shape: [7, 64] }), /asks for 224 bytes here[\s\S]*192 bytes/],
  ["a shape that is none", withState({ shape: "6x64" }), /gives a shape/],
  ["a block of a strange size", withState({ blocksize: 48 }), /a block size of bitsandbytes/],
  ["an unknown type before", withState({ dtype: "int4" }), /a floating type[\s\S]*int4/],
  ["no offset", withState({ nested_offset: null }), /finite offset/],
  [
    "rows in another order",
    changed(tensorsOf({ type: "int8" }), "layer.weight_format", (tensor) => ({
      ...tensor,
      data: Uint8Array.of(2),
    })),
    /row by row[\s\S]*2/,
  ],
  [
    "scales of another type",
    changed(tensorsOf({ type: "int8" }), "layer.SCB", (tensor) => ({
      ...tensor,
      dtype: "F16",
    })),
    /scales and maps are F32[\s\S]*F16/,
  ],
])("refuses %s", async (_, tensors, message) => {
  await expect(readBack(tensors)).rejects.toThrow(message);
});
