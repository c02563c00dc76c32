// Where the weights of a graph lie in files beside it: one behind another, in files that browsers take
// whole, and named as transformers.js asks for them.

import { join } from "node:path";
import { writeAtomically } from "../../hub/index.ts";
import type { OnnxConstant } from "../../onnx/index.ts";
import { sizeOf } from "../../tensor/index.ts";

/** What browsers take in one piece is less than 2 GiB. */
const LARGEST_FILE = 2_000_000_000;

/** Where a tensor starts: processors read whole lines of memory. */
const ALIGNMENT = 64;

const ELEMENT_BYTES: Partial<Record<OnnxConstant["type"], number>> = {
  float32: 4,
  float16: 2,
  uint8: 1,
  int8: 1,
};

/**
 * The constants with a place each, in `<graph>_data`, `<graph>_data_1` and so on.
 * @param largest bytes of a file, unless one tensor has more
 */
export function placed(
  constants: readonly OnnxConstant[],
  graph: string,
  largest = LARGEST_FILE,
): OnnxConstant[] {
  let file = 0;
  let offset = 0;
  return constants.map((constant) => {
    const length = sizeOf(constant.shape) * ELEMENT_BYTES[constant.type]!;
    if (offset > 0 && offset + length > largest) {
      file++;
      offset = 0;
    }
    const name = file === 0 ? `${graph}_data` : `${graph}_data_${file}`;
    const place = { file: name, offset, length };
    offset = Math.ceil((offset + length) / ALIGNMENT) * ALIGNMENT;
    return { ...constant, place };
  });
}

/**
 * Writes the files, a tensor at a time.
 * @returns how many there are
 */
export async function writePlaced(
  folder: string,
  constants: readonly OnnxConstant[],
  bytesOf: (constant: OnnxConstant) => Uint8Array,
): Promise<number> {
  const files = Map.groupBy(constants, ({ place }) => place!.file);
  for (const [file, inside] of files)
    await writeAtomically(join(folder, file), async (handle) => {
      let written = 0;
      for (const constant of inside) {
        const { offset } = constant.place!;
        await handle.writeFile(new Uint8Array(offset - written));
        const bytes = bytesOf(constant);
        await handle.writeFile(bytes);
        written = offset + bytes.byteLength;
      }
    });
  return files.size;
}
