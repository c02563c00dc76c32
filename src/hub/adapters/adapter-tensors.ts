// The tensors of an adapter's file, all at once and as float32: adapters are small.

import { openSafetensors } from "../safetensors/safetensors.ts";
import { readFloat32 } from "../safetensors/safetensors-float32.ts";
import { writeSafetensors } from "../safetensors/safetensors-writer.ts";

export interface AdapterTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** By the file's keys. */
export type AdapterTensors = ReadonlyMap<string, AdapterTensor>;

/** @throws TunesmithError (checkpoint) for a file that is damaged */
export async function readAdapterTensors(path: string): Promise<Map<string, AdapterTensor>> {
  const file = await openSafetensors(path);
  try {
    const tensors = new Map<string, AdapterTensor>();
    for (const { name, shape } of file.tensors.values()) {
      const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
      await readFloat32(file, name, data);
      tensors.set(name, { shape, data });
    }
    return tensors;
  } finally {
    await file.close();
  }
}

/** F32, as PEFT and AdapterHub's library write them. */
export const writeAdapterTensors = (path: string, tensors: AdapterTensors): Promise<void> =>
  writeSafetensors(
    path,
    [...tensors].map(([name, { shape, data }]) => ({ name, dtype: "F32", shape, data })),
  );
