// An open file of tensors, of either format: its header is read once, and afterwards no read leaves
// the tensor that it is for.

import { type FileHandle, open } from "node:fs/promises";
import { nearest, TunesmithError } from "../errors.ts";
import { unreadable } from "./json-file.ts";

/** Where a tensor's bytes lie. */
export interface TensorPlace {
  /** From the start of the file. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

export interface TensorFile<Tensor extends TensorPlace> {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Reads a tensor's bytes as stored, or the part of them that starts at `from` and fills `target`. */
  readInto(name: string, target: Uint8Array, from?: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a file whose header `readHeader` reads and checks. Throws a TunesmithError ("checkpoint") for a
 * file that cannot be opened, and what `readHeader` throws.
 */
export async function openTensorFile<
  Tensor extends TensorPlace,
  Header extends { readonly tensors: ReadonlyMap<string, Tensor> },
>(
  path: string,
  readHeader: (file: FileHandle) => Promise<Header>,
): Promise<Header & TensorFile<Tensor>> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    throw unreadable(path, error);
  }
  try {
    const header = await readHeader(file);
    const { tensors } = header;
    return {
      ...header,
      path,
      async readInto(name, target, from = 0) {
        const tensor = tensors.get(name);
        if (!tensor) throw missingTensor(path, name, tensors.keys());
        if (from < 0 || from + target.byteLength > tensor.byteLength)
          throw new RangeError(
            `${name} has ${tensor.byteLength} bytes; asked for ${target.byteLength} at ${from}`,
          );
        await readExactly(file, path, tensor.byteOffset + from, target);
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Fills `target` from `position` of the file, or throws a TunesmithError where the file ends early. */
export async function readExactly(
  file: FileHandle,
  path: string,
  position: number,
  target: Uint8Array,
): Promise<void> {
  let done = 0;
  while (done < target.byteLength) {
    // Linux hands out at most 2 GiB a call.
    const wanted = Math.min(target.byteLength - done, 2 ** 30);
    // A folder can be opened like a file, and disks fail.
    const { bytesRead } = await file
      .read(target, done, wanted, position + done)
      .catch((error) => Promise.reject(unreadable(path, error)));
    if (bytesRead === 0)
      throw new TunesmithError("checkpoint", {
        where: path,
        rule: "the file must not shrink while it is read",
        seen: `the end at ${position + done}`,
        fix: "fetch or save the file again, and let nothing write to it meanwhile",
      });
    done += bytesRead;
  }
}

/** The fault of asking a file for a tensor that it does not hold. */
export function missingTensor(path: string, name: string, names: Iterable<string>): TunesmithError {
  const close = nearest(name, names);
  return new TunesmithError("checkpoint", {
    where: path,
    rule: `the checkpoint must hold the tensor "${name}"`,
    seen: close ? `no such tensor; the nearest is "${close}"` : "no such tensor",
    fix: "check that config.json and the weights belong to the same model",
  });
}
