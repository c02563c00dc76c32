// A model with fewer layers: the first ones of a checkpoint with the rest left out, as Transformers
// loads it when told a smaller `num_hidden_layers`.

import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSafetensors, writeSafetensors } from "../src/hub/index.ts";

/**
 * Runs `use` with a temporary folder that is `model` cut down to `depth` layers (or with `model`
 * itself where no depth is given).
 */
export async function withDepth<T>(
  model: string,
  depth: number | undefined,
  use: (folder: string) => Promise<T>,
): Promise<T> {
  if (depth === undefined) return use(model);
  const folder = await mkdtemp(join(tmpdir(), "tunesmith-depth-"));
  try {
    await writeShallow(model, depth, folder);
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function writeShallow(model: string, depth: number, folder: string): Promise<void> {
  const config = JSON.parse(await readFile(join(model, "config.json"), "utf8"));
  if (depth > config.num_hidden_layers)
    throw new RangeError(`--depth ${depth}: ${model} has ${config.num_hidden_layers} layers`);
  const cut = { ...config, num_hidden_layers: depth };
  await writeFile(join(folder, "config.json"), JSON.stringify(cut));
  for (const name of await readdir(model))
    if (name !== "config.json" && name.endsWith(".json"))
      await copyFile(join(model, name), join(folder, name));

  const weights = await openSafetensors(join(model, "model.safetensors"));
  try {
    const kept = [...weights.tensors.values()].filter(({ name }) => layerOf(name) < depth);
    await writeSafetensors(
      join(folder, "model.safetensors"),
      kept.map(({ name, dtype, shape, byteLength }) => ({
        name,
        dtype,
        shape,
        data: async () => {
          const bytes = new Uint8Array(byteLength);
          await weights.readInto(name, bytes);
          return bytes;
        },
      })),
    );
  } finally {
    await weights.close();
  }
}

/** The number of the layer that a tensor belongs to; -1 outside of the layers. */
const layerOf = (name: string): number => Number(/\blayers\.(\d+)\./.exec(name)?.[1] ?? -1);
