// Copies a trained checkpoint into a model folder with its weights rounded to bfloat16, as the
// embedded model is kept: node scripts/pretraining-publish.ts FROM TO

import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeHalf, openCheckpoint, writeSafetensors } from "../src/hub/index.ts";
import { sizeOf } from "../src/tensor/index.ts";

const [from, to] = process.argv.slice(2);
if (!from || !to) throw new Error("usage: node scripts/pretraining-publish.ts FROM TO");

await mkdir(to, { recursive: true });
const checkpoint = await openCheckpoint(from);
const tensors = [...checkpoint.tensors.values()].map(({ name, shape }) => ({
  name,
  shape,
  dtype: "BF16" as const,
  data: async () => {
    const floats = new Float32Array(sizeOf(shape));
    await checkpoint.readFloat32Into(name, floats);
    const halves = new Uint16Array(floats.length);
    encodeHalf(floats, "BF16", halves);
    return new Uint8Array(halves.buffer);
  },
}));
await writeSafetensors(join(to, "model.safetensors"), tensors);
await checkpoint.close();

const config = JSON.parse(await readFile(join(from, "config.json"), "utf8"));
const published = { ...config, dtype: "bfloat16" };
await writeFile(join(to, "config.json"), `${JSON.stringify(published, undefined, 2)}\n`);
for (const file of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"])
  await copyFile(join(from, file), join(to, file));
