// Weights packed as GPTQ and AWQ save them (tests/parity/reference/packed_cases.py), and files of
// them that cannot be read.

import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../checkpoint.ts";
import { openSafetensors } from "../safetensors/safetensors.ts";
import { readFloat32 } from "../safetensors/safetensors-float32.ts";
import { type TensorToWrite, writeSafetensors } from "../safetensors/safetensors-writer.ts";
import { casePath } from "../testing/cases.ts";
import { expectFault, temporaryFolder } from "../testing/files.ts";
import { keptGroups } from "./input-groups.ts";
import { bytesOf, dequantize, quantizeLike } from "./quantization.ts";

const NAME = "layer.weight";
const SHAPE = [32, 64];

const KEPT = ["gptq", "gptq-v2", "gptq-desc-act", "awq"];
const WIDENED = ["gptq-2-bits", "gptq-3-bits", "gptq-8-bits"];

describe.each([...KEPT, ...WIDENED])("%s", (name) => {
  it("gives the numbers that were packed, and their halves", async () => {
    const folder = casePath("packed", name);
    const reference = await openSafetensors(join(folder, "expected.safetensors"));
    const halves = new Uint8Array(32 * 64 * 2);
    await reference.readInto(NAME, halves);
    const expected = new Float32Array(32 * 64);
    await readFloat32(reference, NAME, expected);
    await reference.close();

    const checkpoint = await openCheckpoint(folder);
    expect([...checkpoint.tensors.keys()].sort()).toEqual(["layer.bias", NAME]);
    expect(checkpoint.tensors.get(NAME)).toEqual({
      name: NAME,
      shape: SHAPE,
      dtype: "F16",
      ...(WIDENED.includes(name)
        ? { widenedFor: `${name[5]} bits` }
        : {
            quantization: "int4",
            quantizedBytes: 32 * (32 + 4 * 3) + (name === "gptq-desc-act" ? 4 * 64 : 0),
          }),
    });
    const raw = new Uint8Array(32 * 64 * 2);
    await checkpoint.readRawInto(NAME, raw);
    expect(raw).toEqual(halves);
    // The product of a half and a few bits fits into float32; as a half it is rounded.
    const exact = new Float32Array(32 * 64);
    await checkpoint.readFloat32Into(NAME, exact);
    for (let i = 0; i < exact.length; i++)
      expect(Math.abs(exact[i]! - expected[i]!)).toBeLessThanOrEqual(Math.abs(exact[i]!) / 2048);
    await checkpoint.close();
  });
});

it.each(KEPT)("%s is taken over code for code", async (name) => {
  const checkpoint = await openCheckpoint(casePath("packed", name));
  const [kept, exact] = [await checkpoint.readQuantized!(NAME), new Float32Array(32 * 64)];
  await checkpoint.readFloat32Into(NAME, exact);
  const numbers = new Float32Array(32 * 64);
  dequantize(kept, numbers);
  expect(numbers).toEqual(exact);
  expect(bytesOf(kept)).toBe(checkpoint.tensors.get(NAME)!.quantizedBytes);
  expect(quantizeLike(exact, kept)).toEqual(kept);
  await checkpoint.close();
});

/** A case with other settings, or other tensors. */
async function changed(
  name: string,
  settings: object,
  change: (tensors: TensorToWrite[]) => TensorToWrite[] = (tensors) => tensors,
): Promise<string> {
  const folder = join(temporaryFolder(), "model");
  cpSync(casePath("packed", name), folder, { recursive: true });
  const path = join(folder, "config.json");
  const config = JSON.parse(readFileSync(path, "utf8"));
  Object.assign(config.quantization_config, settings);
  writeFileSync(path, JSON.stringify(config));
  const file = await openSafetensors(join(folder, "model.safetensors"));
  const tensors: TensorToWrite[] = [];
  for (const [key, { dtype, shape, byteLength }] of file.tensors) {
    const data = new Uint8Array(byteLength);
    await file.readInto(key, data);
    tensors.push({ name: key, dtype, shape, data });
  }
  await file.close();
  await writeSafetensors(join(folder, "model.safetensors"), change(tensors));
  return folder;
}

const without = (part: string) => (tensors: TensorToWrite[]) =>
  tensors.filter(({ name }) => name !== `layer.${part}`);

it("takes inputs in turn where the file does not say their groups", async () => {
  const folder = await changed("gptq", {}, without("g_idx"));
  const [bare, full] = [
    await openCheckpoint(folder),
    await openCheckpoint(casePath("packed/gptq")),
  ];
  const [own, reference] = [new Float32Array(32 * 64), new Float32Array(32 * 64)];
  await bare.readFloat32Into(NAME, own);
  await full.readFloat32Into(NAME, reference);
  expect(own).toEqual(reference);
  await Promise.all([bare.close(), full.close()]);
});

describe("groups of inputs", () => {
  const groups = (...sizes: number[]) =>
    Int32Array.from(sizes.flatMap((size, group) => new Array<number>(size).fill(group)));

  it.each<[string, Int32Array, number, object]>([
    ["in turn", groups(64, 64), 2, { groupSize: 64, blockSize: 64 }],
    ["of a whole row", groups(576), 1, { groupSize: 576, blockSize: 64 }],
    ["of which the last is cut short", groups(128, 128, 64), 3, { groupSize: 128, blockSize: 64 }],
    ["larger than any block", groups(1024, 1024), 2, { groupSize: 1024, blockSize: 256 }],
  ])("are kept %s", (_, groupOf, count, kept) => {
    expect(keptGroups(groupOf, count)).toEqual(kept);
  });

  it("are sorted where inputs were taken by importance", () => {
    const shuffled = Int32Array.from({ length: 64 }, (_, i) => i % 2);
    const kept = keptGroups(shuffled, 2);
    expect(kept).toMatchObject({ groupSize: 32, blockSize: 32 });
    const { order } = kept as { order: Int32Array };
    expect([...order.subarray(0, 3), ...order.subarray(32, 35)]).toEqual([0, 2, 4, 1, 3, 5]);
  });

  it.each<[string, Int32Array, number, RegExp]>([
    ["of different sizes", groups(32, 16, 32), 3, /different sizes/],
    ["without inputs", groups(32, 32), 3, /different sizes/],
    ["of 8", groups(8, 8, 8, 8), 4, /groups of 8 among 32 inputs/],
    ["in rows of 40", groups(32, 8), 2, /groups of 32 among 40 inputs/],
  ])("are not kept %s", (_, groupOf, count, why) => {
    expect(keptGroups(groupOf, count)).toMatch(why);
  });
});

describe("is refused", () => {
  it.each<[string, string, object, RegExp]>([
    ["5 bits", "gptq", { bits: 5 }, /have 2, 3, 4, 8 bits[\s\S]*5/],
    ["8 bits of AWQ", "awq", { bits: 8 }, /have 4 bits[\s\S]*8/],
    ["a layout for one kernel", "awq", { version: "gemv" }, /"gemm"[\s\S]*"gemv"/],
    ["Marlin's", "gptq", { checkpoint_format: "marlin" }, /"gptq_v2"[\s\S]*"marlin"/],
    ["another method", "gptq", { quant_method: "hqq" }, /GPTQ, AWQ[\s\S]*"hqq"/],
  ])("%s", async (_, name, settings, message) => {
    await expectFault(openCheckpoint(await changed(name, settings)), message);
  });

  it("what lacks its scales or zero points, or has those of another matrix", async () => {
    for (const part of ["scales", "qzeros"])
      await expectFault(
        changed("gptq", {}, without(part)).then(openCheckpoint),
        new RegExp(`layer\\.${part}[\\s\\S]*no such tensor`),
      );
    const narrow = (tensors: TensorToWrite[]) =>
      tensors.map((tensor) =>
        tensor.name === "layer.qzeros" ? { ...tensor, shape: [2, 8] } : tensor,
      );
    await expectFault(
      changed("awq", {}, narrow).then(openCheckpoint),
      /belong to groups[\s\S]*zeros \[2, 8\]/,
    );
    const strays = (tensors: TensorToWrite[]) =>
      tensors.map((tensor) =>
        tensor.name === "layer.g_idx"
          ? { ...tensor, data: new Uint8Array(new Int32Array(64).fill(4).buffer) }
          : tensor,
      );
    await expectFault(changed("gptq", {}, strays).then(openCheckpoint), /numbered from 0 to 3/);
  });
});
