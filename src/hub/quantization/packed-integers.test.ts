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

const NAME = "layer.weight";
const SHAPE = [32, 64];

describe.each(["gptq", "gptq-v2", "gptq-desc-act", "awq"])("%s", (name) => {
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
    expect(checkpoint.tensors.get(NAME)).toEqual({ name: NAME, shape: SHAPE, dtype: "F16" });
    const raw = new Uint8Array(32 * 64 * 2);
    await checkpoint.readRawInto(NAME, raw);
    expect(raw).toEqual(halves);
    // The product of a half and four bits fits into float32; as a half it is rounded.
    const exact = new Float32Array(32 * 64);
    await checkpoint.readFloat32Into(NAME, exact);
    for (let i = 0; i < exact.length; i++)
      expect(Math.abs(exact[i]! - expected[i]!)).toBeLessThanOrEqual(Math.abs(exact[i]!) / 2048);
    await checkpoint.close();
  });
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

describe("is refused", () => {
  it.each<[string, string, object, RegExp]>([
    ["3 bits", "gptq", { bits: 3 }, /have 4 bits[\s\S]*3/],
    ["8 bits", "awq", { bits: 8 }, /have 4 bits[\s\S]*8/],
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
    const checkpoint = await openCheckpoint(await changed("gptq", {}, strays));
    await expectFault(
      checkpoint.readFloat32Into(NAME, new Float32Array(32 * 64)),
      /numbered from 0 to 3/,
    );
    await checkpoint.close();
  });
});
