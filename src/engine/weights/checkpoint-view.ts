// A checkpoint as its architecture names and orders it: files may leave out the base model's prefix,
// hold matrices the other way round, and carry buffers that follow from the config.

import type { Checkpoint, CheckpointTensor } from "../../hub/index.ts";
import type { BoundArchitecture } from "../../models/index.ts";

type Naming = Pick<BoundArchitecture, "weights" | "basePrefix" | "ignoredTensors">;

/** What a checkpoint's files call a tensor: those of the base model alone leave its prefix out. */
export function storedName(
  { tensors }: Pick<Checkpoint, "tensors">,
  name: string,
  basePrefix: string,
): string {
  if (tensors.has(name) || !name.startsWith(`${basePrefix}.`)) return name;
  return name.slice(basePrefix.length + 1);
}

/** The same checkpoint; tensors that the architecture does not know keep their names. */
export function checkpointView(
  checkpoint: Checkpoint,
  { weights, basePrefix, ignoredTensors }: Naming,
): Checkpoint {
  const stored = checkpoint.tensors;
  const nameIn = new Map<string, string>();
  const turned = new Set<string>();
  for (const { name, isTransposed } of weights) {
    const fileName = storedName(checkpoint, name, basePrefix);
    nameIn.set(name, fileName);
    const { quantization, widenedFor } = stored.get(fileName) ?? {};
    // A GGUF file's matrices are never the other way round, nor are those that were quantised.
    const isAsWritten = checkpoint.format === "safetensors" && !quantization && !widenedFor;
    if (isTransposed && isAsWritten) turned.add(name);
  }
  const renamed = new Set(nameIn.values());
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, tensor] of stored)
    if (!renamed.has(name) && !ignoredTensors?.test(name)) tensors.set(name, tensor);
  for (const [name, fileName] of nameIn) {
    const tensor = stored.get(fileName);
    if (!tensor) continue;
    const { location, ...rest } = tensor;
    tensors.set(
      name,
      turned.has(name)
        ? { ...rest, name, shape: tensor.shape.toReversed() }
        : { ...rest, name, ...(location && { location }) },
    );
  }

  const inFile = (name: string) => nameIn.get(name) ?? name;
  /** Reads into `target`, through a copy where rows and columns change places. */
  const turning = async <Data extends Float32Array | Uint16Array>(
    name: string,
    target: Data,
    read: (into: Data) => Promise<void>,
  ) => {
    if (!turned.has(name)) return read(target);
    const copy = target.slice() as Data;
    await read(copy);
    const [rows, columns] = tensors.get(name)!.shape as [number, number];
    transposeInto(copy, columns, rows, target);
  };
  return {
    ...checkpoint,
    tensors,
    readFloat32Into: (name, target) =>
      turning(name, target, (into) => checkpoint.readFloat32Into(inFile(name), into)),
    readRawInto(name, target) {
      if (!turned.has(name)) return checkpoint.readRawInto(inFile(name), target);
      const halves = new Uint16Array(target.buffer, target.byteOffset, target.byteLength / 2);
      return turning(name, halves, (into) =>
        checkpoint.readRawInto(inFile(name), new Uint8Array(into.buffer, 0, into.byteLength)),
      );
    },
    ...(checkpoint.readQuantized && {
      readQuantized: (name: string) => checkpoint.readQuantized!(inFile(name)),
    }),
  };
}

/** Writes the transpose of `source` [rows, columns] to `target`. */
export function transposeInto(
  source: Float32Array | Uint16Array,
  rows: number,
  columns: number,
  target: Float32Array | Uint16Array,
): void {
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      target[column * rows + row] = source[row * columns + column]!;
}
