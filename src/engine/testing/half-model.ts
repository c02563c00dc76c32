// A checkpoint of 32-bit weights written again in 16 bits, for tests of what a 16-bit base changes.

import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { openSafetensors, writeSafetensors } from "../../hub/index.ts";

/** Writes the float16 form of the checkpoint in `source` into an existing folder. */
export async function writeHalfModel(source: string, folder: string): Promise<void> {
  await copyFile(join(source, "config.json"), join(folder, "config.json"));
  const file = await openSafetensors(join(source, "model.safetensors"));
  try {
    const tensors = [];
    for (const { name, shape, byteLength } of file.tensors.values()) {
      const wide = new Uint8Array(byteLength);
      await file.readInto(name, wide);
      tensors.push({ name, shape, dtype: "F16" as const, data: new Float32Array(wide.buffer) });
    }
    await writeSafetensors(join(folder, "model.safetensors"), tensors);
  } finally {
    await file.close();
  }
}
