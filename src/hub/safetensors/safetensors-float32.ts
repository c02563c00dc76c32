// Tensors of a safetensors file as float32, whatever floating dtype they are stored in.

import { TunesmithError } from "../../errors.ts";
import { decodeHalf } from "../half.ts";
import { missingTensor } from "../tensor-file.ts";
import {
  SAFETENSORS_ELEMENT_BYTES,
  type SafetensorsDtype,
  type SafetensorsFile,
} from "./safetensors.ts";

const CHUNK_BYTES = 4 << 20;

/** How the dtypes that need decoding become float32; the others are no weights. */
const DECODERS: Partial<
  Record<SafetensorsDtype, (bytes: Uint8Array, target: Float32Array) => void>
> = {
  F16: (bytes, target) => decodeHalf(words(bytes), "F16", target),
  BF16: (bytes, target) => decodeHalf(words(bytes), "BF16", target),
  F64: (bytes, target) => target.set(new Float64Array(bytes.buffer, 0, bytes.length / 8)),
};

/** The dtypes that weights are read in. */
export const FLOAT_DTYPES: readonly string[] = ["F32", ...Object.keys(DECODERS)];

/** `bytes` begins its buffer. */
function words(bytes: Uint8Array): Uint16Array {
  return new Uint16Array(bytes.buffer, 0, bytes.length / 2);
}

/**
 * Decodes one tensor of a safetensors file into `target`, a few MiB at a time.
 * Throws a TunesmithError where its dtype is not a floating one or its size is another.
 */
export async function readFloat32(
  file: SafetensorsFile,
  name: string,
  target: Float32Array,
): Promise<void> {
  const tensor = file.tensors.get(name);
  if (!tensor) throw missingTensor(file.path, name, file.tensors.keys());
  const elementBytes = SAFETENSORS_ELEMENT_BYTES[tensor.dtype];
  const count = tensor.byteLength / elementBytes;
  if (count !== target.length)
    throw new RangeError(`${name} has ${count} elements; the target has ${target.length}`);
  if (tensor.dtype === "F32") {
    await file.readInto(name, new Uint8Array(target.buffer, target.byteOffset, target.byteLength));
    return;
  }
  const decode = DECODERS[tensor.dtype];
  if (!decode)
    throw new TunesmithError("checkpoint", {
      where: `${file.path} (tensor "${name}")`,
      rule: `weights are one of ${FLOAT_DTYPES.join(", ")}`,
      seen: tensor.dtype,
      fix: "use an unquantised safetensors checkpoint, or a GGUF file of the model",
    });
  const chunk = new Uint8Array(Math.min(CHUNK_BYTES, tensor.byteLength));
  for (let from = 0; from < tensor.byteLength; from += CHUNK_BYTES) {
    const bytes = chunk.subarray(0, Math.min(CHUNK_BYTES, tensor.byteLength - from));
    await file.readInto(name, bytes, from);
    decode(bytes, target.subarray(from / elementBytes, (from + bytes.length) / elementBytes));
  }
}
