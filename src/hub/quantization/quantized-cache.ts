// Quantised weights kept on disk, so that a model is quantised once and not at every start: one file a
// model and options, laid out as bitsandbytes saves weights. It only saves time: what cannot be read
// is made anew, and the folder may be deleted whenever one likes.

import { createHash } from "node:crypto";
import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { TunesmithError } from "../../errors.ts";
import type { Checkpoint } from "../checkpoint-types.ts";
import { openSafetensors } from "../safetensors/safetensors.ts";
import { writeSafetensors } from "../safetensors/safetensors-writer.ts";
import { findQuantized, quantizedTensors, readQuantized } from "./bitsandbytes.ts";
import type { MadeTensor, QuantizationOptions } from "./quantization.ts";

/** Raised whenever quantising gives other numbers than before. */
const VERSION = 1;

export interface QuantizedCache {
  /** The file that holds or would hold the weights. */
  readonly path: string;
  /** What was kept for all of these names; undefined where any is missing or damaged. */
  read(names: readonly string[]): Promise<Map<string, MadeTensor> | undefined>;
  /** Keeps weights. Where the disk does not let it, nothing is kept and nothing is wrong. */
  write(weights: ReadonlyMap<string, MadeTensor>): Promise<void>;
}

/** The place in `folder` for the weights of a checkpoint, as its files are now. */
export async function openQuantizedCache(
  folder: string,
  checkpoint: Checkpoint,
  options: QuantizationOptions,
): Promise<QuantizedCache> {
  const identity = { version: VERSION, options, files: await identify(checkpoint) };
  const key = createHash("sha256").update(JSON.stringify(identity)).digest("hex").slice(0, 32);
  const path = join(folder, `${key}.safetensors`);
  return {
    path,
    async read(names) {
      try {
        return await readAll(path, names);
      } catch (error) {
        if (error instanceof TunesmithError) return undefined;
        throw error;
      }
    },
    async write(weights) {
      const tensors = [...weights].flatMap(([name, tensor]) =>
        quantizedTensors(name, tensor, "F32"),
      );
      await writeSafetensors(path, tensors).catch(() => undefined);
    },
  };
}

async function readAll(path: string, names: readonly string[]) {
  const file = await openSafetensors(path);
  try {
    const files = new Map([...file.tensors.keys()].map((name) => [name, file]));
    const found = await findQuantized(files);
    const weights = new Map<string, MadeTensor>();
    for (const name of names) {
      const stored = found.get(name);
      if (!stored) return undefined;
      weights.set(name, await readQuantized(files, name, stored));
    }
    return weights;
  } finally {
    await file.close();
  }
}

/** The checkpoint's files by name, size and time: another file at the same place is another model. */
async function identify({ source, format, tensors }: Checkpoint) {
  const located = [...tensors.values()].flatMap(({ location }) =>
    location ? [location.path] : [],
  );
  const paths = format === "gguf" ? [source] : [...new Set(located)].sort();
  return Promise.all(
    paths.map(async (path) => {
      const { size, mtimeMs } = await stat(path);
      return { path: await realpath(path), size, mtimeMs };
    }),
  );
}
