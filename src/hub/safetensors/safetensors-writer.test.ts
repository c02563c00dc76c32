import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openCheckpoint } from "../checkpoint.ts";
import { expectFault, temporaryFolder } from "../testing/files.ts";
import { openSafetensors } from "./safetensors.ts";
import { readFloat32 } from "./safetensors-float32.ts";
import {
  type TensorToWrite,
  writeSafetensors,
  writeShardedSafetensors,
} from "./safetensors-writer.ts";

const values = Float32Array.from({ length: 6 }, (_, i) => i - 2.5);

describe("one file", () => {
  it("comes back equal, wide elements first, header and data aligned", async () => {
    const path = join(temporaryFolder(), "deep/er/x.safetensors");
    await writeSafetensors(path, [
      { name: "half", dtype: "F16", shape: [6], data: values },
      { name: "ids", dtype: "I64", shape: [1], data: new Uint8Array([7, 0, 0, 0, 0, 0, 0, 0]) },
      { name: "brain", dtype: "BF16", shape: [2, 3], data: () => values },
      { name: "full", dtype: "F32", shape: [3, 2], data: async () => values },
    ]);
    const file = await openSafetensors(path);
    expect([...file.tensors.keys()]).toEqual(["ids", "full", "brain", "half"]);
    expect(file.metadata).toEqual({ format: "pt" });
    expect(file.tensors.get("ids")!.byteOffset % 8).toBe(0);
    for (const name of ["half", "brain", "full"]) {
      const target = new Float32Array(6);
      await readFloat32(file, name, target);
      expect(target).toEqual(values);
    }
    await expectFault(readFloat32(file, "ids", new Float32Array(1)), /weights are one of F32/);
    await file.close();
  });

  it("keeps the old file and leaves no temporary one when a tensor fails", async () => {
    const folder = temporaryFolder();
    const path = join(folder, "x.safetensors");
    await writeSafetensors(path, [{ name: "a", dtype: "F32", shape: [6], data: values }]);
    const before = readFileSync(path);
    const wrong: TensorToWrite = { name: "a", dtype: "F32", shape: [7], data: values };
    await expectFault(writeSafetensors(path, [wrong]), /28 bytes[\s\S]*24 bytes/);
    expect(readFileSync(path)).toEqual(before);
    expect(readdirSync(folder)).toEqual(["x.safetensors"]);
  });

  it("refuses a name twice", async () => {
    const tensor: TensorToWrite = { name: "a", dtype: "F32", shape: [6], data: values };
    const path = join(temporaryFolder(), "x.safetensors");
    await expect(writeSafetensors(path, [tensor, tensor])).rejects.toThrow(/twice/);
  });

  it("says so where the output cannot be written", async () => {
    await expectFault(
      writeSafetensors("/dev/null/x.safetensors", []),
      /must be one that can be written to/,
    );
  });
});

describe("shards", () => {
  const tensors: TensorToWrite[] = ["a", "b", "c"].map((name) => ({
    name,
    dtype: "F32",
    shape: [6],
    data: values,
  }));

  it("are named and indexed as Transformers does, and read back as one checkpoint", async () => {
    const folder = temporaryFolder();
    const files = await writeShardedSafetensors(folder, tensors, { maxShardBytes: 50 });
    expect(files).toEqual([
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
      "model.safetensors.index.json",
    ]);
    const index = JSON.parse(readFileSync(join(folder, files[2]!), "utf8"));
    expect(index).toEqual({
      metadata: { total_size: 72 },
      weight_map: { a: files[0], b: files[0], c: files[1] },
    });
    writeFileSync(join(folder, "config.json"), '{"model_type":"llama"}');
    const checkpoint = await openCheckpoint(folder);
    const target = new Float32Array(6);
    await checkpoint.readFloat32Into("c", target);
    expect(target).toEqual(values);
    await checkpoint.close();
  });

  it("are one plain file where everything fits", async () => {
    const folder = temporaryFolder();
    expect(await writeShardedSafetensors(folder, tensors)).toEqual(["model.safetensors"]);
    expect(readdirSync(folder)).toEqual(["model.safetensors"]);
  });
});
